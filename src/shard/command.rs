//! Commands of the operator, to the shard that serves the session.

use std::{cell::RefCell, time::Duration};

use slab::Slab;

use super::{Command, Mail, SessionId, Shard, Unheard};
use crate::runtime::{self, ShardId, channel};

/// Commands from one shard to another that were not answered yet.
pub(super) const COMMANDS_PER_PAIR: usize = 16;

/// How long an answer is waited for: it comes between two tasks, unless the shard is stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of a command.
pub(super) type Outcome = Result<(), Unheard>;

/// Commands of this shard's operator that others have not answered, by shard. A place is free
/// again when the answer came, waited for or not, so no answer is taken for another's.
pub(super) struct Commands {
    under_way: Vec<RefCell<Slab<channel::Sender<Outcome>>>>,
}

impl Commands {
    pub(super) fn new(shards: usize) -> Self {
        Self { under_way: (0..shards).map(|_| RefCell::default()).collect() }
    }

    fn begin(&self, peer: ShardId) -> Result<(u16, channel::Receiver<Outcome>), Unheard> {
        let mut under_way = self.under_way[usize::from(peer.0)].borrow_mut();
        if under_way.len() == COMMANDS_PER_PAIR {
            return Err(Unheard::Full);
        }
        let (answer, outcome) = channel::bounded(1);
        Ok((under_way.insert(answer) as u16, outcome))
    }

    pub(super) fn end(&self, peer: ShardId, place: u16, outcome: Outcome) {
        let answer = self.under_way[usize::from(peer.0)].borrow_mut().try_remove(place.into());
        // Who asked may not wait any more.
        let _ = answer.map(|answer| answer.try_send(outcome));
    }
}

impl Shard {
    /// Tells a session something, whichever shard it is on. It has it when this returns, and acts
    /// on it next.
    ///
    /// # Errors
    /// Why it does not get to hear it.
    ///
    /// # Cancellation
    /// The command is still carried out.
    pub async fn command(&self, id: SessionId, command: Command) -> Result<(), Unheard> {
        if id.shard == self.id {
            return self.register.command(id.number, command);
        }
        if id.shard.0 >= self.route.shards {
            return Err(Unheard::NoSession);
        }
        let (place, mut outcome) = self.commands.begin(id.shard)?;
        if self.mailbox.try_send(id.shard, Mail::Command(place, id.number, command)).is_err() {
            // The shard has left the mesh, and its sessions before it.
            self.commands.end(id.shard, place, Err(Unheard::NoSession));
        }
        let answered = runtime::timeout(PATIENCE, outcome.recv()).await;
        answered.ok().flatten().unwrap_or(Err(Unheard::Silent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_under_way_than_there_is_room_for() {
        let commands = Commands::new(2);
        let mut asked: Vec<_> =
            (0..COMMANDS_PER_PAIR).map(|_| commands.begin(ShardId(1)).unwrap()).collect();
        assert_eq!(commands.begin(ShardId(1)).err(), Some(Unheard::Full));
        assert!(commands.begin(ShardId(0)).is_ok(), "the bound is that of a pair");
        let (place, outcome) = &mut asked[7];
        commands.end(ShardId(1), *place, Ok(()));
        assert_eq!(outcome.try_recv(), Some(Ok(())));
        assert!(commands.begin(ShardId(1)).is_ok());
    }
}
