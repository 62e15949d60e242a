//! The servers of an environment, in the daemon: DHCP and DNS, on sockets opened inside its namespace; and [`LabDns`],
//! the one that tells the outside where machines are.
//!
//! They keep nothing: what they say is in the plan. A daemon that was killed starts them again, and no client notices.

mod dhcp;
mod dns;
mod lab_dns;
pub(crate) mod wire;

pub use lab_dns::{LabDns, LabDnsConfig, LabDnsError};

use std::{path::PathBuf, sync::Arc};

use tokio::{sync::watch, task::JoinSet};
use wardian_model::id::EnvironmentId;
use wardian_plan::network::NetworkPlan;

use crate::{error::NetworkError, kernel::namespace::Namespace};

/// The running servers of one environment. Dropped, they end.
#[derive(Debug)]
pub struct Services {
    plan: watch::Sender<Arc<NetworkPlan>>,
    tasks: JoinSet<()>,
}

impl Services {
    pub(crate) async fn start(
        plan: &NetworkPlan,
        inside: &Namespace,
        daemon: &Namespace,
        resolv_conf: PathBuf,
    ) -> Result<Self, NetworkError> {
        let environment = plan.environment;
        let addresses: Vec<_> = plan.dns.addresses().collect();
        let (dhcp, dns) = inside
            .run("open the sockets of an environment's servers", move || {
                let failed = |service| move |source| NetworkError::Service { service, environment, source };
                let dhcp = dhcp::Sockets::open().map_err(failed("DHCP"))?;
                let open = |at| Ok((at, wire::Sockets::open(at, wire::Place::Inside).map_err(failed("DNS"))?));
                let dns = addresses.into_iter().map(open).collect::<Result<Vec<_>, NetworkError>>()?;
                Ok((dhcp, dns))
            })
            .await?;
        let failed = |service| move |source| NetworkError::Service { service, environment, source };
        let (sender, plan) = watch::channel(Arc::new(plan.clone()));
        let mut tasks = JoinSet::new();
        dhcp::spawn(&mut tasks, dhcp, plan.clone()).map_err(failed("DHCP"))?;
        let common = dns::Common::new(plan, dns::Upstream::new(daemon.clone(), resolv_conf));
        for (at, sockets) in dns {
            dns::spawn(&mut tasks, at, sockets, common.clone()).map_err(failed("DNS"))?;
        }
        Ok(Self { plan: sender, tasks })
    }

    /// Whose servers these are.
    #[must_use]
    pub fn environment(&self) -> EnvironmentId {
        self.plan.borrow().environment
    }

    /// From the next question on, answers follow `plan`: of the same environment, with the same gateway.
    pub fn update(&self, plan: &NetworkPlan) {
        self.plan.send_replace(Arc::new(plan.clone()));
    }

    /// Whether all servers still run. They end only when their environment's switch is removed under them.
    #[must_use]
    pub fn are_running(&mut self) -> bool {
        self.tasks.try_join_next().is_none()
    }

    /// Ends the servers and waits until their sockets are closed.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
