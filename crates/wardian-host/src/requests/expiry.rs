//! `expire`: when an environment shall be removed by itself.

use wardian_model::{Timestamp, environment::EnvironmentRecord, name::EnvironmentName};

use crate::{Host, Refusal};

impl Host {
    /// Changes when an environment is removed by itself; never, with nothing. It is only written down here: the
    /// environment's controller removes it when the time has come.
    ///
    /// # Errors
    /// When there is no such environment, or it is being removed.
    pub async fn set_expiry(&self, name: &EnvironmentName, expires: Option<Timestamp>) -> Result<(), Refusal> {
        let set = |record: &mut EnvironmentRecord| Ok(std::mem::replace(&mut record.expires, expires) != expires);
        let (_, changed) = self.change(name, set).await?;
        if changed {
            let message = match expires {
                Some(at) => format!("expires at {at:.0}"),
                None => "no longer expires".to_owned(),
            };
            self.shared.records.say(name, None, message).await;
        }
        Ok(())
    }
}
