//! A clock that is wrong, towards a real BIND. Everything else about it is in the tests of the crate.

use wardian_testkit::bind::{self, Bind};

use super::*;

#[test]
fn a_clock_that_is_wrong_is_told_from_a_key_that_is() {
    let test = async || {
        let folder = tempfile::tempdir().unwrap();
        let _bind = Bind::start_here(folder.path());
        let (server, zone) = (bind::SERVER.parse().unwrap(), Domain::new("lab.example").unwrap());
        let updater =
            Updater::new(UpdateConfig::new(server, zone, bind::KEY, Secret::new(bind::SECRET_BYTES))).unwrap();
        let data = wardian_plan::alias::AliasData::Address([10, 86, 0, 5].into());
        let record = AliasRecord { name: Domain::new("web.store.lab.example").unwrap(), data, ttl_seconds: 5 };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let error = updater.tell_at(now - 3600, [Change::Replace(&record)]).await.unwrap_err();
        let UpdateError::Clock { ahead: Some(ahead), .. } = error else { panic!("{error:?}") };
        assert!((3600..3610).contains(&ahead), "{ahead}");
        assert!(error.is_passing() && error.to_string().contains("clock"));
        updater.tell_at(now - 200, [Change::Replace(&record)]).await.unwrap();
    };
    // In a network of its own: the server's address is taken by nobody there.
    let thread = std::thread::spawn(move || {
        assert!(nix::unistd::geteuid().is_root(), "this test makes a network namespace; run it as root");
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        assert!(std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
