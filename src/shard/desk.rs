//! The front desk: requests of this core's clients to whichever shard owns their source, and other
//! shards' requests to this one.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::{Rc, Weak},
    task::{Context, Poll},
    time::Duration,
};

use slab::Slab;

use super::{
    Abort, Ahead, Answer, Job, Mail, Part, Pass, Progress, Reason, Refusal, Sent, Shard,
    mail::{BYTE_CREDITS, PCM_CREDITS, PREFETCH_CREDITS, SESSIONS_PER_PAIR, SessionKey},
    outlet::{Credit, Credits, Crossing, Outlet, Step, Way},
    serve::{queue, serve},
};
use crate::{
    bufpool::Block,
    runtime::{self, Queue, ShardId, Task, channel, event::Event},
};

/// An answer, and its body as it comes.
pub struct Response {
    /// What comes before the body.
    pub answer: Answer,
    /// The parts of the body.
    pub body: channel::Receiver<Part>,
    /// What makes it.
    pub session: Session,
}

impl Response {
    /// The next part of the body; `None` at its end.
    ///
    /// # Errors
    /// It breaks off before that.
    pub async fn next(&mut self) -> Result<Option<Sent>, Abort> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The same for who is polled itself.
    ///
    /// # Errors
    /// As there.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Sent>, Abort>> {
        self.body.poll_recv(context).map(|part| part.unwrap_or(Err(Abort::Failed)))
    }
}

/// A prefetch of one source under way.
pub struct Prefetching {
    /// How far it is, again and again.
    pub steps: channel::Receiver<Step>,
    /// What it came to.
    pub answer: channel::Receiver<Result<Answer, Refusal>>,
    /// What does it.
    pub session: Session,
}

/// Where a session's answer is to come.
struct Returns {
    head: channel::Sender<Result<Answer, Refusal>>,
    body: channel::Sender<Part>,
    /// Of a prefetch.
    steps: Option<channel::Sender<Step>>,
}

/// A session being served, on this shard or another. Dropping it stops the work unless others wait
/// for it.
pub struct Session {
    _here: Option<Task<()>>,
    _there: Option<Rc<Crossing>>,
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
    returns: Returns,
    /// Gone once neither the response nor a block of it is left.
    crossing: Weak<Crossing>,
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

    /// Puts a session into a free slot at `owner`, if there is one.
    fn open(
        &self,
        owner: ShardId,
        returns: Returns,
        crossing: impl FnOnce(SessionKey) -> Rc<Crossing>,
    ) -> Option<Rc<Crossing>> {
        let mut fronts = self.fronts[owner.0 as usize].borrow_mut();
        if fronts.slots.len() == SESSIONS_PER_PAIR {
            return None;
        }
        fronts.generations = fronts.generations.wrapping_add(1);
        let generation = fronts.generations;
        let entry = fronts.slots.vacant_entry();
        let crossing = crossing(SessionKey { slot: entry.key() as u16, generation });
        entry.insert(Front { generation, returns, crossing: Rc::downgrade(&crossing) });
        Some(crossing)
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
        let (head, mut answer) = channel::bounded(1);
        // The end of a body needs no credit.
        let (body, parts) = channel::bounded(credits(&job) + 1);
        let session = self.hand_over(job, Returns { head, body, steps: None })?;
        let answer = answer.recv().await.unwrap_or(Err(Refusal::Broken))?;
        Ok(Response { answer, body: parts, session })
    }

    /// Has the shard that owns a source bring it into its cache, step by step.
    ///
    /// # Errors
    /// Why it does not begin.
    pub fn prefetch(self: &Rc<Self>, ahead: Ahead) -> Result<Prefetching, Refusal> {
        let (head, answer) = channel::bounded(1);
        let (body, _) = channel::bounded(1);
        let (step, steps) = channel::bounded(PREFETCH_CREDITS);
        let returns = Returns { head, body, steps: Some(step) };
        let session = self.hand_over(Job::Prefetch(ahead), returns)?;
        Ok(Prefetching { steps, answer, session })
    }

    /// Gives a job to the shard that owns its source.
    fn hand_over(self: &Rc<Self>, job: Job, returns: Returns) -> Result<Session, Refusal> {
        let source = job.source();
        let owner = self.route.owner(&self.files.key(&source.name, &source.path)?);
        match owner == self.id {
            true => self.begin_local(job, returns),
            false => self.cross(owner, job, returns),
        }
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
                    let taken = |front: &mut Front| front.returns.head.try_send(*answer).ok();
                    self.desk.with_front(peer, key, taken);
                }
                Mail::Step(key, progress) => self.desk.take_step(peer, key, progress),
                Mail::Block(key, block) => self.desk.take_block(peer, key, block),
                Mail::End(key, result) => self.desk.take_end(peer, key, result),
                Mail::Farewell(key) => self.desk.free(peer, key),
                Mail::Quiet => self.desk.quieted(),
                Mail::Look => self.post(peer, Mail::Report(Box::new(self.report()))),
                Mail::Report(report) => self.survey.take_in(*report),
                Mail::Command(place, id, command) => {
                    let outcome = self.register.command(id, command);
                    self.post(peer, Mail::Commanded(place, outcome));
                }
                Mail::Chore(place, chore) => self.do_chore(peer, place, *chore),
                Mail::ChoreDone(place, outcome) => self.chores.end(peer, place, *outcome),
                Mail::Pull { fresh } => self.feed.pulled(peer, fresh),
                Mail::Notices(notices) => self.feed.take_in(peer, notices),
                Mail::Lines(told) => self.hear_of_lines(peer, *told),
                Mail::LinesHeard => self.lines_were_heard(peer),
                Mail::Passed(list) => self.list_passed_at(peer, list.0, list.1),
                Mail::Known => self.onward.is_read(peer),
                Mail::Commanded(place, outcome) => self.commands.end(peer, place, outcome),
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

    /// Lets a session in, unless the shard takes none any more.
    fn enter(&self) -> Result<Pass, Refusal> {
        self.gate.enter().ok_or_else(|| {
            self.refused(Reason::Draining);
            Refusal::Draining
        })
    }

    /// Serves a client of this core.
    fn begin_local(self: &Rc<Self>, job: Job, returns: Returns) -> Result<Session, Refusal> {
        let pass = self.enter()?;
        let credits = Credits::new(credits(&job));
        let Returns { head, body, steps } = returns;
        let task = self.begin(job, Way::Local { head, body, steps }, credits, pass);
        Ok(Session { _here: Some(task), _there: None })
    }

    /// Begins to serve on this core.
    fn begin(self: &Rc<Self>, job: Job, way: Way, credits: Rc<Credits>, _pass: Pass) -> Task<()> {
        let front = way.front().unwrap_or(self.id);
        let (registered, commands) = self.register.enter(&job, front, &self.feed);
        let is_answered = Cell::new(false);
        let outlet = Outlet { way, credits, registered, is_answered, _pass };
        runtime::spawn(queue(&job), "session", serve(Rc::clone(self), job, outlet, commands))
    }

    /// Has `owner` serve.
    fn cross(
        self: &Rc<Self>,
        owner: ShardId,
        job: Job,
        returns: Returns,
    ) -> Result<Session, Refusal> {
        let _pass = self.enter()?;
        let crossing = |key| {
            let mailbox = Rc::clone(&self.mailbox);
            Rc::new(Crossing { mailbox, owner, key, _pass })
        };
        let crossing = self.desk.open(owner, returns, crossing).ok_or_else(|| {
            self.refused(Reason::Slots);
            Refusal::Full
        })?;
        let opening = Mail::Open(crossing.key, Box::new(job));
        if self.mailbox.try_send(owner, opening).is_err() {
            // The owner has left the mesh: there will be neither an answer nor a farewell.
            self.desk.free(owner, crossing.key);
            self.refused(Reason::Draining);
            return Err(Refusal::Draining);
        }
        Ok(Session { _here: None, _there: Some(crossing) })
    }

    fn open_for(self: &Rc<Self>, front: ShardId, key: SessionKey, job: Job) {
        let pass = match self.enter() {
            Ok(pass) => pass,
            Err(refusal) => {
                self.post(front, Mail::Head(key, Box::new(Err(refusal))));
                return self.post(front, Mail::End(key, Ok(())));
            }
        };
        let credits = Credits::new(credits(&job));
        let way = Way::Remote { front, key, mailbox: Rc::clone(&self.mailbox) };
        let session = self.begin(job, way, Rc::clone(&credits), pass);
        self.attend_session(front, key, credits, session);
    }

    pub(super) fn attend_session(
        self: &Rc<Self>,
        front: ShardId,
        key: SessionKey,
        credits: Rc<Credits>,
        session: Task<()>,
    ) {
        let watching = Rc::clone(self).watch(front, key, session);
        let _task = runtime::spawn(Queue::Io, "served", watching);
        self.desk.serve(front, key, Served { generation: key.generation, credits, _task });
    }

    /// Tells the front of a session that panicked: nobody else would, and its client would wait.
    async fn watch(self: Rc<Self>, front: ShardId, key: SessionKey, session: Task<()>) {
        if session.await.is_err() {
            self.post(front, Mail::Head(key, Box::new(Err(Refusal::Broken))));
            self.post(front, Mail::End(key, Err(Abort::Failed)));
        }
    }

    /// Room for it is reserved (see `mail`), so it fails only where the peer is gone.
    pub(super) fn post(&self, to: ShardId, mail: Mail) {
        let _ = self.mailbox.try_send(to, mail);
    }
}

impl Desk {
    /// Its room is the credits: only a response that nobody wants any more refuses it.
    fn take_block(&self, owner: ShardId, key: SessionKey, block: Block) {
        self.with_front(owner, key, |front| {
            let crossing = front.crossing.upgrade()?;
            front.returns.body.try_send(Ok(Some(Sent::new(block, Credit::of(crossing))))).ok()
        });
    }

    fn take_end(&self, owner: ShardId, key: SessionKey, result: Result<(), Abort>) {
        let ends = result.map(|()| None);
        self.with_front(owner, key, |front| front.returns.body.try_send(ends).ok());
    }

    /// As with blocks: its room is the credits.
    fn take_step(&self, owner: ShardId, key: SessionKey, progress: Progress) {
        self.with_front(owner, key, |front| {
            let _credit = Credit::of(front.crossing.upgrade()?);
            front.returns.steps.as_ref()?.try_send(Step { progress, _credit }).ok()
        });
    }
}

/// Blocks of a session that may wait for its client.
pub(super) fn credits(job: &Job) -> usize {
    match job {
        Job::Pcm(_) => PCM_CREDITS,
        Job::Object { .. } | Job::Probe(_) | Job::Waveform(_) => BYTE_CREDITS,
        Job::Prefetch(_) => PREFETCH_CREDITS,
    }
}
