//! Asking the origin what a source is now: once for all who wait.
//!
//! An [`Inquiry`] is one question, for something that is not in the cache or not fresh. Its answer
//! is stored and filled from there, or says that what is stored is still good, or is for the one who
//! asked alone. It is a task of its own: a client that goes away takes nothing from the others.

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::SystemTime,
};

use http::{
    HeaderMap,
    header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, DATE},
};

use super::{
    Error,
    asker::Asker,
    fill::fill,
    pause::Pauses,
    plan::first_request,
    stay::{learn_length, validator_of},
};
use crate::{
    assets::{
        AssetStore, FillPermit, Head, Key, Lease, News, Question,
        freshness::{self, Share, Trouble, Use},
    },
    net::{self, Ask, Provenance, Response, Validator},
    runtime::{self, Panicked, Queue, event::Event},
    storage::Failure,
};

/// The inquiries that run now, by what they are about.
pub(super) type Inquiries = Rc<RefCell<HashMap<Key, Rc<Inquiry>>>>;

/// What stale objects are given without one for a moment.
pub(super) type SharedPauses = Rc<RefCell<Pauses>>;

/// What came of an inquiry.
#[derive(Clone)]
pub(super) enum Outcome {
    /// What was here is still good.
    Validated(Lease),
    /// What was here has to do: the origin failed, with this status or without an answer.
    Kept(Lease, Option<u16>),
    /// There is a new one, for all who wait.
    Begun(Lease),
    /// There is one for the one who asked: everybody else has to ask too.
    Alone,
    /// There is none.
    Failed(Failure),
}

/// One question to an origin.
pub(super) struct Inquiry {
    store: Rc<AssetStore>,
    from: Provenance,
    key: Key,
    asker: Asker,
    /// What is here, not to be given as it is.
    old: Option<Lease>,
    /// Hears of what the operator does to it meanwhile.
    question: Question,
    pauses: SharedPauses,
    ended: Event,
    outcome: OnceCell<Outcome>,
    /// What is for the one who asked.
    alone: Cell<Option<Lease>>,
}

impl Inquiry {
    /// A question that nobody has put yet.
    pub(super) fn new(
        store: Rc<AssetStore>,
        from: Provenance,
        key: Key,
        asker: Asker,
        old: Option<Lease>,
        pauses: SharedPauses,
    ) -> Rc<Self> {
        let (ended, outcome, alone) = (Event::new(), OnceCell::new(), Cell::default());
        let question = store.question(&key);
        Rc::new(Self { store, from, key, asker, old, question, pauses, ended, outcome, alone })
    }

    /// Puts it, where others find it while it runs.
    pub(super) fn put(self: &Rc<Self>, inquiries: &Inquiries) {
        inquiries.borrow_mut().insert(self.key.clone(), Rc::clone(self));
        let ending = Ending { inquiry: Rc::clone(self), inquiries: Some(Rc::clone(inquiries)) };
        ending.run();
    }

    /// Puts it for the one who asks alone.
    pub(super) fn put_alone(self: &Rc<Self>) {
        Ending { inquiry: Rc::clone(self), inquiries: None }.run();
    }

    /// What it is for.
    pub(super) fn use_(&self) -> Use {
        self.asker.use_
    }

    /// Whether its answer is also one to who asks now and has `old`: not to who found that gone or
    /// replaced, and not behind an act of the operator.
    pub(super) fn is_about(&self, old: Option<&Lease>) -> bool {
        let generation = |lease: &Lease| lease.generation;
        self.old.as_ref().map(generation) == old.map(generation) && !self.question.is_overtaken()
    }

    /// Waits for what comes of it.
    pub(super) async fn outcome(&self) -> Outcome {
        loop {
            let ended = self.ended.listen();
            if let Some(outcome) = self.outcome.get() {
                return outcome.clone();
            }
            ended.await;
        }
    }

    /// What came of it for the one who asked. Once.
    pub(super) fn take_alone(&self) -> Option<Lease> {
        self.alone.take()
    }

    async fn run(&self) -> Outcome {
        let asked = unix_seconds();
        let from = first_request(self.asker.position);
        let answered = match self.ask(self.old.as_ref(), Some(from)).await {
            // It is shorter than that, and what it is can be told from its beginning.
            Ok(response) if response.head.status == 416 && from > 0 => {
                self.ask(self.old.as_ref(), Some(0)).await
            }
            answered => answered,
        };
        let outcome = match answered {
            Ok(response) => self.answered(response, asked),
            Err(error) => self.troubled(error),
        };
        self.pause(&outcome);
        outcome
    }

    /// What is stale is not asked about again right after the origin failed.
    fn pause(&self, outcome: &Outcome) {
        let mut pauses = self.pauses.borrow_mut();
        match outcome {
            Outcome::Kept(_, status) => {
                let trouble = status.map_or(Trouble::Unreachable, |_| Trouble::Answered);
                pauses.begin(self.key.id, trouble, runtime::now());
            }
            Outcome::Failed(_) => {}
            Outcome::Validated(_) | Outcome::Begun(_) | Outcome::Alone => pauses.end(self.key.id),
        }
    }

    /// Asks for the bytes from a position on, or for the head alone.
    async fn ask(&self, old: Option<&Lease>, from: Option<u64>) -> Result<Response, net::Error> {
        let Provenance { client, origin, url, .. } = &self.from;
        let head = old.map(|old| old.head());
        let ask = Ask {
            range: from.map(|from| (from, None)),
            if_range: None,
            fields: self.asker.question(head.as_deref()),
            head_only: from.is_none(),
            as_it_is: self.asker.use_ == Use::Original,
            once: old.is_some_and(|old| self.survives(old, Trouble::Unreachable)),
        };
        client.get(origin, url, &ask).await
    }

    fn survives(&self, old: &Lease, trouble: Trouble) -> bool {
        let (use_, ttl) = (self.asker.use_, self.store.media_ttl());
        freshness::survives(&old.head(), use_, trouble, ttl, unix_seconds())
    }

    /// What is here is good again: for all, unless the operator did not trust it meanwhile.
    fn refresh(&self, old: &Lease, mut fields: HeaderMap, asked: u64) {
        if self.question.is_overtaken() {
            return;
        }
        freshness::end_to_end(&mut fields);
        let head = old.head().refreshed(&fields, asked, unix_seconds());
        self.store.refresh(old, head);
        keep_until_settled(old.clone());
    }

    /// The origin answered with something.
    fn answered(&self, response: Response, asked: u64) -> Outcome {
        if let Some(old) = &self.old {
            let status = response.head.status;
            if status >= 500 && self.survives(old, Trouble::Answered) {
                return Outcome::Kept(old.clone(), Some(status));
            }
            if still_is(&response, old) {
                self.refresh(old, response.head.headers, asked);
                return Outcome::Validated(old.clone());
            }
        }
        let limit_bytes = self.store.object_bytes();
        if response.head.length.is_some_and(|length| length > limit_bytes) {
            return Outcome::Failed(Failure::new(Error::TooLong { limit_bytes }));
        }
        let head = self.head_of(&response.head, asked);
        let (fields, use_, ttl) = (&self.asker.fields, self.asker.use_, self.store.media_ttl());
        let share = match freshness::share(&head, fields, use_, ttl) {
            // What the node itself wishes, no field says.
            _ if self.asker.apart || self.asker.wishes.no_store => Share::Alone,
            // What is here may do again when the origin has recovered.
            Share::Stored if head.status >= 500 && self.old.is_some() => Share::Waiting,
            // It is what the operator wants no more. Something newer may be here.
            Share::Stored if self.question.is_overtaken() => Share::Waiting,
            share => share,
        };
        if share == Share::Stored || (ends(head.status) && !self.asker.apart) {
            self.old.iter().for_each(|old| self.store.forget(old));
        }
        let lease = match share {
            Share::Stored => self.store.begin(&self.key, head),
            Share::Waiting | Share::Alone => self.store.begin_alone(&self.key, head),
        };
        self.fill(&lease, response);
        if share == Share::Alone {
            self.alone.set(Some(lease));
            return Outcome::Alone;
        }
        Outcome::Begun(lease)
    }

    /// What an answer says, as it is kept.
    fn head_of(&self, head: &net::Head, asked: u64) -> Head {
        let answered = unix_seconds();
        let mut fields = head.headers.clone();
        freshness::end_to_end(&mut fields);
        // Those are of one answer; the resource states its own.
        fields.remove(CONTENT_LENGTH);
        fields.remove(ACCEPT_RANGES);
        if matches!(head.status, 206 | 416) {
            fields.remove(CONTENT_RANGE);
        }
        fields.entry(DATE).or_insert_with(|| freshness::http_date(answered));
        Head {
            // An empty file has no part that could be asked for.
            status: if matches!(head.status, 206 | 416) { 200 } else { head.status },
            asked,
            answered,
            redirected: (head.url != self.from.url).then(|| head.url.clone()),
            unproven: Validator::of(&fields).is_none(),
            selecting: freshness::selecting(&fields, &self.asker.fields),
            fields,
        }
    }

    /// The fill belongs to the resource, not to the request that began it.
    fn fill(&self, lease: &Lease, response: Response) {
        if let Some(length) = response.head.length
            && let Err(error) = learn_length(lease, length)
        {
            // A new resource has no length yet.
            tracing::error!(%error, "a length was not taken");
        }
        lease.begins.set(response.body.position());
        lease.is_without_parts.set(response.head.range.is_none());
        match self.store.permit(lease) {
            Some(permit) => begin_fill(permit, &self.store, self.from.clone(), Some(response)),
            None => {
                let _ = lease.resource.commit();
                keep_until_settled(lease.clone());
            }
        }
    }

    fn troubled(&self, error: net::Error) -> Outcome {
        let trouble = match &error {
            net::Error::Status(status) if *status < 500 => None,
            net::Error::Later { status, .. } if *status < 500 => None,
            net::Error::Status(_) | net::Error::Later { .. } => Some(Trouble::Answered),
            net::Error::Refused { .. } | net::Error::Path(_) | net::Error::Encoded => None,
            _ => Some(Trouble::Unreachable),
        };
        let status = error.status();
        if let (Some(old), Some(trouble)) = (&self.old, trouble)
            && self.survives(old, trouble)
        {
            return Outcome::Kept(old.clone(), status);
        }
        if let Some(old) = self.old.as_ref().filter(|_| status.is_some_and(ends)) {
            self.store.forget(old);
        }
        let failure = Failure::new(error);
        self.store.tell(&self.key.url, News::FillFailed(&failure));
        Outcome::Failed(failure)
    }

    // ---- only the head ----

    /// Asks for the head alone. `None` where the origin does not answer that.
    ///
    /// # Errors
    /// The origin failed, and nothing that is here will do.
    pub(super) async fn ask_head(&self) -> Result<Option<(Lease, Outcome)>, Failure> {
        let asked = unix_seconds();
        let response = match self.ask(self.old.as_ref(), None).await {
            Ok(response) if net::is_about_the_form(response.head.status) => return Ok(None),
            Ok(response) => response,
            Err(error) => {
                return match self.troubled(error) {
                    Outcome::Failed(failure) => Err(failure),
                    Outcome::Kept(old, status) => Ok(Some(self.kept(old, status))),
                    _ => Ok(None),
                };
            }
        };
        if let Some(old) = &self.old {
            if response.head.status >= 500 && self.survives(old, Trouble::Answered) {
                return Ok(Some(self.kept(old.clone(), Some(response.head.status))));
            }
            if still_is(&response, old) {
                self.refresh(old, response.head.headers, asked);
                return Ok(Some((old.clone(), Outcome::Validated(old.clone()))));
            }
            // What is here is not what the origin has (RFC 9111 section 4.3.5).
            if ends(response.head.status) {
                self.store.forget(old);
            }
        }
        let lease = self.store.begin_alone(&self.key, self.head_of(&response.head, asked));
        if let Some(length) = response.head.length {
            let _ = lease.resource.set_length(length);
        }
        Ok(Some((lease, Outcome::Alone)))
    }

    fn kept(&self, old: Lease, status: Option<u16>) -> (Lease, Outcome) {
        let outcome = Outcome::Kept(old.clone(), status);
        self.pause(&outcome);
        (old, outcome)
    }
}

/// Has what is missing of a resource fetched as it is demanded.
pub(super) fn begin_fill(
    permit: FillPermit,
    store: &Rc<AssetStore>,
    from: Provenance,
    first: Option<Response>,
) {
    let filling = fill(permit, Rc::clone(store), from, first);
    runtime::spawn(Queue::Io, "fill", filling).detach();
}

/// What is said of a resource reaches the disk only while somebody holds it.
fn keep_until_settled(lease: Lease) {
    let settling = async move { lease.settled().await };
    runtime::spawn(Queue::Background, "settle", settling).detach();
}

/// Whether an answer of this status says that what was there is there no more.
fn ends(status: u16) -> bool {
    matches!(status, 200..=399 | 404 | 410)
}

/// Whether an answer says that what is here is what the origin has: by 304, or, where it took no
/// notice of the question, by its strong validator.
fn still_is(response: &Response, old: &Lease) -> bool {
    let (head, known) = (&response.head, old.head());
    let validator = validator_of(&known);
    let other_length =
        matches!((head.length, old.resource.length()), (Some(new), Some(old)) if new != old);
    let is_same = matches!(head.status, 200 | 206)
        && known.status == 200
        && validator.is_some()
        && validator == head.validator
        && !other_length;
    is_same || head.status == 304
}

pub(super) fn unix_seconds() -> u64 {
    let since = runtime::wall_clock().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Says that an inquiry has ended, in whichever way.
struct Ending {
    inquiry: Rc<Inquiry>,
    inquiries: Option<Inquiries>,
}

impl Ending {
    fn run(self) {
        let task = async move {
            let outcome = self.inquiry.run().await;
            let _ = self.inquiry.outcome.set(outcome);
        };
        runtime::spawn(Queue::Io, "inquiry", task).detach();
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(inquiries) = &self.inquiries {
            let mut inquiries = inquiries.borrow_mut();
            // Another may have been put in its place.
            if inquiries.get(&self.inquiry.key).is_some_and(|one| Rc::ptr_eq(one, &self.inquiry)) {
                inquiries.remove(&self.inquiry.key);
            }
        }
        let panicked = || Outcome::Failed(Failure::new(Panicked { name: "inquiry" }));
        self.inquiry.outcome.get_or_init(panicked);
        self.inquiry.ended.notify_all();
    }
}
