//! Commands of the operator, to the shard that serves the session.

use std::time::Duration;

use super::{Command, Mail, SessionId, Shard, Unheard};
use crate::runtime;

/// Commands from one shard to another that were not answered yet.
pub(super) const COMMANDS_PER_PAIR: usize = 16;

/// How long an answer is waited for: it comes between two tasks, unless the shard is stuck.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of a command.
pub(super) type Outcome = Result<(), Unheard>;

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
            return self.register.command(id, command);
        }
        if id.shard.0 >= self.route.shards {
            return Err(Unheard::NoSession);
        }
        let (place, mut outcome) = self.commands.begin(id.shard).ok_or(Unheard::Full)?;
        if self.mailbox.try_send(id.shard, Mail::Command(place, id, command)).is_err() {
            // The shard has left the mesh, and its sessions before it.
            self.commands.end(id.shard, place, Err(Unheard::NoSession));
        }
        let answered = runtime::timeout(PATIENCE, outcome.recv()).await;
        answered.ok().flatten().unwrap_or(Err(Unheard::Silent))
    }
}
