//! Records with revisions, transactions, watches and leases, behind one contract
