//! What shards say to each other.
//!
//! Nearly every message concerns one session: a request that one shard's client made (the front) and that
//! another shard serves (the owner). The front names it by a slot and a generation, so a message
//! that comes late for a slot used again is recognised and dropped.

use super::{
    Abort, Answer, Chore, Command, Job, Notice, Progress, Refusal, Report, SessionId,
    chore::{self, CHORES_PER_PAIR},
    command::{COMMANDS_PER_PAIR, Outcome},
    lines::Told,
    onward::LISTS_PER_PAIR,
};
use crate::{bufpool::Block, pcm::SourceName};

/// Sessions that one front has at one owner at a time; beyond that it answers 503.
pub(super) const SESSIONS_PER_PAIR: usize = 256;

/// Blocks of a PCM session that its client's socket has not yet written.
pub(super) const PCM_CREDITS: usize = 2;

/// The same for original bytes: they cost no decoding, so the pipe is kept fuller.
pub(super) const BYTE_CREDITS: usize = 4;

/// Steps of a prefetch that were allowed and have not been taken: the second is there when the first
/// is done.
pub(super) const PREFETCH_CREDITS: usize = 2;

/// Messages of one session that can be under way at once in one direction: head, blocks, end and
/// the farewell; or the opening, credits and the close. A slot is free again only after the
/// farewell, so being one of [`SESSIONS_PER_PAIR`] reserves them: an answer never waits for room.
const MAIL_PER_SESSION: usize = BYTE_CREDITS + 3;

/// Messages of one direction that concern no session's body: a look, a report, the last word; the
/// commands and chores of this shard and its answers to the other's; playlists likewise; a pull and the
/// notices for the other's; what is told of lines, and the word that it was heard.
const MAIL_BESIDES: usize = 7 + 2 * COMMANDS_PER_PAIR + 2 * CHORES_PER_PAIR + 2 * LISTS_PER_PAIR;

/// Room of the mailbox between one pair of shards, for both roles of each.
pub const MAILBOX: usize = 2 * SESSIONS_PER_PAIR * MAIL_PER_SESSION + MAIL_BESIDES;

/// A session of one pair of shards, as its front named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionKey {
    pub(super) slot: u16,
    pub(super) generation: u32,
}

/// One message.
#[derive(Debug)]
pub enum Mail {
    /// Front to owner: serve this.
    Open(SessionKey, Box<Job>),
    /// Front to owner: so many blocks were written, or need not be.
    Credit(SessionKey, u16),
    /// Front to owner: nothing more is wanted, because all was written or the client is gone. No
    /// credit of the session comes after it.
    Close(SessionKey),
    /// Owner to front: what the answer is, or why there is none.
    Head(SessionKey, Box<Result<Answer, Refusal>>),
    /// Owner to front: the next part of the body.
    Block(SessionKey, Block),
    /// Owner to front: how far a prefetch is; its next step waits for the credit.
    Step(SessionKey, Progress),
    /// Owner to front: the body is complete, or cannot be completed.
    End(SessionKey, Result<(), Abort>),
    /// Owner to front: nothing more will come, the slot is free.
    Farewell(SessionKey),
    /// To everybody: no session of mine will open here any more. Said once, before the end.
    Quiet,
    /// To anybody: say what you have done. One at a time.
    Look,
    /// The answer to a look.
    Report(Box<Report>),
    /// To the shard that serves the session of this name: tell it so. The first is the sender's
    /// own name for the command.
    Command(u16, SessionId, Command),
    /// The answer to a command.
    Commanded(u16, Outcome),
    /// To the shard that owns a volume: do this in it. The first is the sender's own name for it.
    Chore(u16, Box<Chore>),
    /// What became of a chore.
    ChoreDone(u16, Box<chore::Outcome>),
    /// To anybody: say what happens as soon as something does; if this is fresh, nothing older. One
    /// at a time.
    Pull {
        /// Nobody has listened for a while.
        fresh: bool,
    },
    /// The answer to a pull.
    Notices(Vec<Notice>),
    /// To anybody: this came over lines to origins, and that is to be expected. One at a time.
    Lines(Box<Told>),
    /// The answer to it.
    LinesHeard,
    /// To everybody: this version of a playlist passed, and is in the cache.
    Passed(Box<(SourceName, String)>),
    /// The answer: it has been read.
    Known,
}
