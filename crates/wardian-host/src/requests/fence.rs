//! `fence`: what may cross an environment's edge from now on.

use wardian_model::{environment::EnvironmentRecord, name::EnvironmentName, spec::Fence};

use wardian_network::NetworkError;

use crate::{Host, Refusal, refusal::problem};

impl Host {
    /// Changes the fence of an environment; in effect when this returns. Addresses and connections inside stay.
    ///
    /// # Errors
    /// When there is no such environment, or the change is not in effect in time.
    pub async fn set_fence(&self, name: &EnvironmentName, fence: Fence) -> Result<(), Refusal> {
        let set = |record: &mut EnvironmentRecord| match record.spec.is_isolated() {
            true => Ok(std::mem::replace(&mut record.fence, fence) != fence),
            false => Err(Refusal::conflict(format!("{name} is not isolated (mode none), so it has no fence"))
                .hint("remove it, and make it again without the mode")),
        };
        let (record, changed) = self.change(name, set).await?;
        if changed {
            self.shared.records.say(name, None, format!("fence is {fence}")).await;
        }
        self.in_effect(&record, |_, _| true).await
    }

    /// What the fence and the pins of an environment have dropped since its network was made: how many packets, by
    /// reason. Nothing while it has no network.
    ///
    /// # Errors
    /// When there is no such environment, or the kernel doesn't tell.
    pub async fn fence_counters(&self, name: &EnvironmentName) -> Result<Vec<(&'static str, u64)>, Refusal> {
        let record = self.environment_record(name).await?;
        match self.shared.network.counters(record.id).await {
            Ok(counters) => Ok(counters.iter().map(|(reason, count)| (reason, count.packets)).collect()),
            Err(NetworkError::NoEnvironment { .. }) => Ok(Vec::new()),
            Err(error) => Err(Refusal::internal(problem(&error).message)),
        }
    }
}
