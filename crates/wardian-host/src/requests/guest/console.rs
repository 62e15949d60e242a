//! A session on a console that stays when a live cut replaces its machine's process.
//!
//! What the guest prints within the few milliseconds between is in the console's log only.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};
use wardian_machine::console;

use super::life::Life;

const BUFFER: usize = 4 << 10;

/// Whose going away ended a connection.
enum Gone {
    User,
    Machine,
}

/// Passes on in both directions until the user goes, or the machine with no successor.
pub(super) async fn relay(mut user: UnixStream, mut guest: UnixStream, mut life: Life) {
    loop {
        if matches!(pass(&mut user, &mut guest).await, Gone::User) || life.next().await.is_err() {
            return;
        }
        let Ok(next) = console::console(life.now().directory()).await else { return };
        guest = next;
    }
}

async fn pass(user: &mut UnixStream, guest: &mut UnixStream) -> Gone {
    let (mut from_user, mut to_user) = user.split();
    let (mut from_guest, mut to_guest) = guest.split();
    let inward = async {
        let mut buffer = [0; BUFFER];
        loop {
            match from_user.read(&mut buffer).await {
                Ok(0) | Err(_) => return Gone::User,
                Ok(length) if to_guest.write_all(&buffer[..length]).await.is_err() => return Gone::Machine,
                Ok(_) => {}
            }
        }
    };
    let outward = async {
        let mut buffer = [0; BUFFER];
        loop {
            match from_guest.read(&mut buffer).await {
                Ok(0) | Err(_) => return Gone::Machine,
                Ok(length) if to_user.write_all(&buffer[..length]).await.is_err() => return Gone::User,
                Ok(_) => {}
            }
        }
    };
    tokio::select! {
        gone = inward => gone,
        gone = outward => gone,
    }
}
