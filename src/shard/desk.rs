//! The front desk: requests of this core's clients to whichever shard owns their source, and other
//! shards' requests to this one.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use slab::Slab;

use super::{
    Abort, Answer, Job, Mail, Part, Refusal, Shard,
    mail::{BYTE_CREDITS, PCM_CREDITS, SESSIONS_PER_PAIR, SessionKey},
    outlet::{Credits, Outlet},
    serve::{queue, serve},
};
use crate::runtime::{self, Queue, ShardId, Task, channel, event::Event, mailbox::Mailbox};

/// An answer, and its body as it comes. Dropping it stops the work unless others wait for it.
pub struct Response {
    /// What comes before the body.
    pub answer: Answer,
    /// The parts of the body.
    pub body: channel::Receiver<Part>,
    /// The session, or what forwards it from another shard.
    pub task: Task<()>,
}

/// Sessions that cross between this shard and others.
pub struct Desk {
    /// By owner: those of this shard's clients.
    fronts: Vec<RefCell<Fronts>>,
    /// By front: those that this shard serves, by their slot.
    served: Vec<RefCell<Vec<Option<Served>>>>,
    /// Other shards that may still open sessions here.
    loud: Cell<usize>,
    quiet: Event,
}

/// The sessions that this shard has at one owner.
#[derive(Default)]
struct Fronts {
    slots: Slab<Front>,
    /// Tells a slot's sessions apart.
    generations: u32,
}

struct Front {
    generation: u32,
    head: channel::Sender<Result<Answer, Refusal>>,
    body: channel::Sender<Part>,
}

struct Served {
    generation: u32,
    credits: Rc<Credits>,
    /// Dropping it cancels the session.
    _task: Task<()>,
}

impl Desk {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            fronts: (0..shards).map(|_| RefCell::default()).collect(),
            served: (0..shards).map(|_| RefCell::default()).collect(),
            loud: Cell::new(shards - 1),
            quiet: Event::new(),
        }
    }

    /// Cancels whatever is served for other shards.
    fn cancel_all(&self) {
        self.served.iter().for_each(|sessions| drop(sessions.take()));
    }

    fn quieted(&self) {
        self.loud.set(self.loud.get() - 1);
        self.quiet.notify_all();
    }

    async fn all_quiet(&self) {
        loop {
            let quiet = self.quiet.listen();
            if self.loud.get() == 0 {
                return;
            }
            quiet.await;
        }
    }

    /// Puts a session into a free slot at `owner`.
    fn open(&self, owner: ShardId, front: Front) -> Option<SessionKey> {
        let mut fronts = self.fronts[owner.0 as usize].borrow_mut();
        if fronts.slots.len() == SESSIONS_PER_PAIR {
            return None;
        }
        fronts.generations = fronts.generations.wrapping_add(1);
        let generation = fronts.generations;
        let slot = fronts.slots.insert(Front { generation, ..front });
        Some(SessionKey { slot: slot as u16, generation })
    }

    fn with_front<T>(
        &self,
        owner: ShardId,
        key: SessionKey,
        act: impl FnOnce(&mut Front) -> T,
    ) -> Option<T> {
        let mut fronts = self.fronts[owner.0 as usize].borrow_mut();
        let front = fronts.slots.get_mut(key.slot as usize)?;
        (front.generation == key.generation).then(|| act(front))
    }

    fn free(&self, owner: ShardId, key: SessionKey) {
        if self.with_front(owner, key, |_| ()).is_some() {
            drop(self.fronts[owner.0 as usize].borrow_mut().slots.remove(key.slot as usize));
        }
    }

    fn serve(&self, front: ShardId, key: SessionKey, served: Served) {
        let mut sessions = self.served[front.0 as usize].borrow_mut();
        let slot = key.slot as usize;
        if sessions.len() <= slot {
            sessions.resize_with(slot + 1, || None);
        }
        sessions[slot] = Some(served);
    }

    fn close(&self, front: ShardId, key: SessionKey) -> Option<Served> {
        let mut sessions = self.served[front.0 as usize].borrow_mut();
        let slot = sessions.get_mut(key.slot as usize)?;
        slot.take_if(|served| served.generation == key.generation)
    }

    fn credit(&self, front: ShardId, key: SessionKey, blocks: u16) {
        let sessions = self.served[front.0 as usize].borrow();
        let served = sessions.get(key.slot as usize).and_then(Option::as_ref);
        if let Some(served) = served.filter(|served| served.generation == key.generation) {
            served.credits.add(usize::from(blocks));
        }
    }
}

impl Shard {
    /// Has `job` served by the shard that owns its source, and waits for the answer.
    ///
    /// # Errors
    /// Why there is no answer.
    ///
    /// # Cancellation
    /// Dropping the future, like dropping the response, stops the work unless others wait for it.
    pub async fn request(self: &Rc<Self>, job: Job) -> Result<Response, Refusal> {
        let source = job.source();
        let owner = self.route.owner(&self.files.key(&source.name, &source.path)?);
        let (head, mut answer) = channel::bounded(1);
        // The block that is being written to the socket has left the channel.
        let (body, parts) = channel::bounded(credits(&job) - 1);
        let task = if owner == self.id {
            self.begin(job, Outlet::Local { head, body })?
        } else {
            self.cross(owner, job, head, body)?
        };
        let answer = answer.recv().await.unwrap_or(Err(Refusal::Broken))?;
        Ok(Response { answer, body: parts, task })
    }

    /// Serves what other shards ask for, and takes in what they answer, until the node ends.
    pub async fn attend(self: Rc<Self>) {
        while let Some((peer, mail)) = self.mailbox.recv().await {
            match mail {
                Mail::Open(key, job) => self.open_for(peer, key, *job),
                Mail::Credit(key, blocks) => self.desk.credit(peer, key, blocks),
                Mail::Close(key) => {
                    drop(self.desk.close(peer, key));
                    self.post(peer, Mail::Farewell(key));
                }
                Mail::Head(key, answer) => {
                    self.desk.with_front(peer, key, |front| front.head.try_send(*answer).ok());
                }
                Mail::Block(key, block) => self.desk.take_in(peer, key, Ok(Some(block))),
                Mail::End(key, result) => self.desk.take_in(peer, key, result.map(|()| None)),
                Mail::Farewell(key) => self.desk.free(peer, key),
                Mail::Quiet => self.desk.quieted(),
            }
        }
    }

    /// Ends the shard's part in the node, once its own clients are gone: serves the other shards to
    /// the end of theirs, and cuts what is left after `grace`. No session is alive afterwards: a
    /// decoder that a returning executor merely forgot would never be unwound.
    pub async fn farewell(&self, grace: Duration) {
        let others = (0..self.route.shards).map(ShardId).filter(|id| *id != self.id);
        others.for_each(|other| self.post(other, Mail::Quiet));
        let served = async {
            self.desk.all_quiet().await;
            self.gate.empty().await;
        };
        if runtime::timeout(grace, served).await.is_err() {
            self.desk.cancel_all();
            self.gate.empty().await;
        }
    }

    /// Begins to serve on this core.
    fn begin(self: &Rc<Self>, job: Job, outlet: Outlet) -> Result<Task<()>, Refusal> {
        let pass = self.gate.enter().ok_or(Refusal::Draining)?;
        let session = serve(Rc::clone(self), job.clone(), outlet);
        Ok(runtime::spawn(queue(&job), "session", async move {
            session.await;
            drop(pass);
        }))
    }

    /// Has `owner` serve, and forwards what comes.
    fn cross(
        self: &Rc<Self>,
        owner: ShardId,
        job: Job,
        head: channel::Sender<Result<Answer, Refusal>>,
        body: channel::Sender<Part>,
    ) -> Result<Task<()>, Refusal> {
        let pass = self.gate.enter().ok_or(Refusal::Draining)?;
        // One more than the credits: the end of a body needs none.
        let (inbound, mut arrived) = channel::bounded(credits(&job) + 1);
        let front = Front { generation: 0, head, body: inbound };
        let key = self.desk.open(owner, front).ok_or(Refusal::Full)?;
        if self.mailbox.try_send(owner, Mail::Open(key, Box::new(job))).is_err() {
            // The owner has left the mesh: there will be neither an answer nor a farewell.
            self.desk.free(owner, key);
            return Err(Refusal::Draining);
        }
        let closing = Closing { mailbox: Rc::clone(&self.mailbox), owner, key };
        Ok(runtime::spawn(Queue::Io, "forward", async move {
            while let Some(part) = arrived.recv().await {
                if body.send(part).await.is_err() {
                    break;
                }
                closing.post(Mail::Credit(key, 1));
            }
            drop((closing, pass));
        }))
    }

    fn open_for(self: &Rc<Self>, front: ShardId, key: SessionKey, job: Job) {
        let credits = Rc::new(Credits::new(credits(&job)));
        let outlet = Outlet::Remote {
            front,
            key,
            mailbox: Rc::clone(&self.mailbox),
            credits: Rc::clone(&credits),
        };
        match self.begin(job, outlet) {
            Ok(session) => {
                let generation = key.generation;
                let _task =
                    runtime::spawn(Queue::Io, "served", Rc::clone(self).watch(front, key, session));
                self.desk.serve(front, key, Served { generation, credits, _task });
            }
            Err(refusal) => {
                self.post(front, Mail::Head(key, Box::new(Err(refusal))));
                self.post(front, Mail::End(key, Ok(())));
            }
        }
    }

    /// Tells the front of a session that panicked: nobody else would, and its client would wait.
    async fn watch(self: Rc<Self>, front: ShardId, key: SessionKey, session: Task<()>) {
        if session.await.is_err() {
            self.post(front, Mail::Head(key, Box::new(Err(Refusal::Broken))));
            self.post(front, Mail::End(key, Err(Abort)));
        }
    }

    /// Room for it is reserved (see `mail`), so it fails only where the peer is gone.
    fn post(&self, to: ShardId, mail: Mail) {
        let _ = self.mailbox.try_send(to, mail);
    }
}

impl Desk {
    fn take_in(&self, owner: ShardId, key: SessionKey, part: Part) {
        self.with_front(owner, key, |front| {
            // Its room is the credits: only a client that has gone refuses it.
            let _ = front.body.try_send(part);
        });
    }
}

/// Tells the owner, once dropped, that nothing more is wanted.
struct Closing {
    mailbox: Rc<Mailbox<Mail>>,
    owner: ShardId,
    key: SessionKey,
}

impl Closing {
    fn post(&self, mail: Mail) {
        let _ = self.mailbox.try_send(self.owner, mail);
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.post(Mail::Close(self.key));
    }
}

/// Blocks of a session that may wait for its client.
fn credits(job: &Job) -> usize {
    match job {
        Job::Pcm { .. } => PCM_CREDITS,
        Job::Object { .. } | Job::Probe(_) => BYTE_CREDITS,
    }
}
