//! How a host stands in its cluster: whether it reaches the store, and whether it leads.

use std::sync::Arc;

use tokio::sync::watch;
use wardian_model::{Timestamp, cluster::LeaderRecord, environment::Problem};
use wardian_store::{Revision, Transaction};

use crate::tenure::Tenure;

/// How a host stands in its cluster.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Whether it shows that it is there, and reaches the store.
    pub in_touch: bool,
    /// Since when that is so.
    pub since: Timestamp,
    /// What keeps it from being in touch, once that is known.
    pub problem: Option<Problem>,
    lead: Option<Lead>,
}

impl Standing {
    /// Of a host that has just been started.
    #[must_use]
    pub fn new() -> Self {
        Self { in_touch: false, since: Timestamp::now(), problem: None, lead: None }
    }

    /// Whether it leads, at this very moment: a copy of this that has been lying about does not lie.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.lead().is_some()
    }

    /// Its lead, if it leads at this very moment.
    #[must_use]
    pub fn lead(&self) -> Option<&Lead> {
        self.lead.as_ref().filter(|lead| lead.holds())
    }
}

impl Default for Standing {
    fn default() -> Self {
        Self::new()
    }
}

/// That a host leads.
#[derive(Debug, Clone)]
pub struct Lead {
    term: Revision,
    tenure: Arc<Tenure>,
}

impl Lead {
    pub(crate) fn new(term: Revision, tenure: Arc<Tenure>) -> Self {
        Self { term, tenure }
    }

    /// The revision it began at: every lead has one of its own, and later ones have higher ones.
    #[must_use]
    pub fn term(&self) -> Revision {
        self.term
    }

    /// Whether it certainly goes on.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.tenure.holds()
    }

    /// The transaction, if this lead goes on when it is committed; else it is a conflict.
    pub fn guard(&self, transaction: Transaction) -> Transaction {
        transaction.unchanged(LeaderRecord::KEY, self.term)
    }
}

/// Tells whoever listens, and only what is new.
pub(crate) struct Saying<'a>(pub(crate) &'a watch::Sender<Standing>);

impl Saying<'_> {
    pub(crate) fn in_touch(&self) {
        self.touch(true, None);
    }

    pub(crate) fn out_of_touch(&self, problem: Problem) {
        self.touch(false, Some(problem));
    }

    fn touch(&self, in_touch: bool, problem: Option<Problem>) {
        self.0.send_if_modified(|standing| {
            let other = standing.in_touch != in_touch;
            if other {
                standing.in_touch = in_touch;
                standing.since = Timestamp::now();
            }
            let news = other || standing.problem != problem;
            standing.problem = problem;
            news
        });
    }

    pub(crate) fn leads(&self, lead: Lead) {
        self.0.send_modify(|standing| standing.lead = Some(lead));
    }

    pub(crate) fn follows(&self) {
        self.0.send_if_modified(|standing| standing.lead.take().is_some());
    }

    /// Nothing was heard of the store for so long that the lease may have ended.
    pub(crate) fn silence(&self) {
        if self.0.borrow().in_touch {
            let problem = Problem::new("the cluster's store has not answered for a while");
            self.out_of_touch(problem.hint("see to it that etcd runs and can be reached from here"));
        }
        self.look_again();
    }

    /// Wakes whoever listens, where there is a lead: it is over, or goes on, by the clock alone.
    pub(crate) fn look_again(&self) {
        self.0.send_if_modified(|standing| standing.lead.is_some());
    }
}
