//! A body that goes on where it was cut.
//!
//! A connection that breaks in the middle of a file costs a reader nothing: the rest is asked for
//! by a range that is conditional on the version (`If-Range`), and is joined only if the answer
//! proves to continue the same bytes. Where the origin gives nothing to prove it with, a body that
//! was cut ends with the error instead, and one that came to its own end before all was there, as
//! a short `206` does, ends here: who wants the rest asks anew and names what is
//! [`Known`], which the answer must not contradict.

use std::rc::Rc;

use bytes::{Buf, Bytes};
use http::HeaderMap;
use tracing::debug;
use url::Url;

use super::{
    Ask, Body, Client, Error, Head, Origin, Response, Signs, Validator,
    retry::{Attempts, may_retry},
};
use crate::runtime;

/// Delivered on one connection, this makes earlier failures forgotten: one chunk of storage.
/// Less would let an origin that sends a byte per connection be asked a million times.
const PROGRESS_BYTES: u64 = 64 << 10;

/// What is known of a resource before it is asked for: from an earlier answer.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Bytes of the complete representation.
    pub length: Option<u64>,
    /// Which version it is.
    pub validator: Option<Validator>,
    /// What speaks for a version where nothing proves one. Counts only without a validator.
    pub signs: Signs,
}

/// Where a resource comes from.
#[derive(Clone)]
pub struct Provenance {
    /// Who asks.
    pub client: Client,
    /// In whose name.
    pub origin: Rc<Origin>,
    /// For what.
    pub url: Url,
    /// The fields that go with each request for it.
    pub fields: Rc<HeaderMap>,
}

/// Bytes of a resource from a position on. Dropping it cancels the request.
pub struct Download {
    from: Provenance,
    /// Bytes from here on are not wanted. `None` once the origin has answered with the whole.
    until: Option<u64>,
    known: Known,
    body: Option<Body>,
    /// Whether the current body ends where the resource does: it is no part of it.
    is_whole: bool,
    /// Position of the next byte to hand out.
    position: u64,
    /// Bytes of the current body that were handed out before.
    skip: u64,
    attempts: Attempts,
    /// Handed out since the last failure.
    since_failure: u64,
    /// Nothing comes any more.
    ended: bool,
    failed: Option<Error>,
}

impl Download {
    /// Asks for the bytes `position..until` (to the end if `None`) and waits for the head.
    ///
    /// An origin that ignores ranges answers with the whole: then `head.range` is `None` and
    /// [`position`](Self::position) is 0, whatever was asked. Less than asked for is asked on if a
    /// strong validator can prove that it belongs together, and is all there is if not.
    /// Nothing behind `position` gives a body without bytes and `head.length`.
    ///
    /// Without a validator in `known` the length and the signs are compared.
    ///
    /// # Errors
    /// [`Error::Changed`] if the resource is not the `known` one; else as [`Client::get`].
    ///
    /// # Cancellation
    /// The request is given up.
    pub async fn start(
        from: Provenance,
        (position, until): (u64, Option<u64>),
        known: Known,
    ) -> Result<(Head, Self), Error> {
        let (range, if_range) = (Some((position, until)), known.validator.clone());
        let ask = Ask { range, if_range, fields: (*from.fields).clone(), ..Ask::default() };
        let response = from.client.get(&from.origin, &from.url, &ask).await?;
        known.check(&response.head)?;
        Ok(Self::of(response, from, (position, until), known))
    }

    /// Goes on with an answer to a request for the bytes `position..until`, which is of the `known`
    /// version.
    pub fn of(
        response: Response,
        from: Provenance,
        (position, until): (u64, Option<u64>),
        known: Known,
    ) -> (Head, Self) {
        let Response { mut head, body } = response;
        let known = Known {
            length: head.length.or(known.length),
            validator: head.validator.take().or(known.validator),
            signs: Signs::of(&head.headers),
        };
        (head.length, head.validator) = (known.length, known.validator.clone());
        let until = head.range.as_ref().and(until);
        let position = if head.status == 416 { position } else { body.position() };
        let attempts = from.client.attempts();
        let is_whole = head.range.is_none();
        let (body, skip, since_failure, ended, failed) = (Some(body), 0, 0, false, None);
        let download = Self {
            from,
            until,
            known,
            body,
            is_whole,
            position,
            skip,
            attempts,
            since_failure,
            ended,
            failed,
        };
        (head, download)
    }

    /// Position of the next byte that [`chunk`](Self::chunk) gives.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Bytes of the complete representation, once they are known: at the latest when the clean end
    /// of a whole body says so.
    pub fn length(&self) -> Option<u64> {
        self.known.length
    }

    /// The next bytes, never empty; `None` when all that was asked for has come, or, without a
    /// strong validator, when the origin has given what it gives at once. Then
    /// [`position`](Self::position) is before the end.
    ///
    /// # Errors
    /// [`Error::Cut`] or [`Error::Silent`] when the body could not be continued,
    /// [`Error::Changed`] when there is another version now. The same error again afterwards.
    ///
    /// # Cancellation
    /// No byte is lost; call again.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            match self.advance().await {
                // Skipping what has come before can go on for long without a wait.
                Ok(Some(bytes)) if bytes.is_empty() => runtime::yield_if_needed().await,
                Ok(next) => return Ok(next),
                Err(error) => self.failed = Some(error),
            }
        }
    }

    /// One step: bytes (none if they were skipped, or a new body was begun) or the end.
    async fn advance(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(body) = &mut self.body else {
            if self.ended || self.is_at_end() {
                return Ok(None);
            }
            self.body = Some(self.resume().await?);
            return Ok(Some(Bytes::new()));
        };
        match body.chunk().await {
            Ok(Some(bytes)) => Ok(Some(self.hand_out(bytes))),
            Ok(None) => {
                self.body = None;
                self.end_of_body()
            }
            Err(error) => {
                // Gone before the wait: if that is cancelled, the next call resumes.
                self.body = None;
                self.recover(error).await?;
                Ok(Some(Bytes::new()))
            }
        }
    }

    fn hand_out(&mut self, mut bytes: Bytes) -> Bytes {
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip -= skipped;
        bytes.advance(usize::try_from(skipped).unwrap_or(usize::MAX));
        self.position += bytes.len() as u64;
        self.since_failure += bytes.len() as u64;
        if self.since_failure >= PROGRESS_BYTES {
            self.attempts.progress();
        }
        bytes
    }

    /// A body has come to its own end: everything, or only what the origin gives at once.
    fn end_of_body(&mut self) -> Result<Option<Bytes>, Error> {
        if self.skip > 0 {
            return Err(Error::Changed); // Shorter than what had come of it before.
        }
        // The end of a part says nothing: only that of a whole is the end of the resource.
        if self.goal().is_none() && self.is_whole {
            self.known.length = Some(self.position);
        }
        // A part that is over is no failure: who wants the rest asks for it, and compares.
        let is_part = !self.is_whole && self.known.validator.is_none();
        self.ended = is_part || self.is_at_end();
        if self.ended {
            return Ok(None);
        }
        // Without a strong validator nothing proves that a rest belongs to what has come, and good
        // answers without a byte would be asked for without end.
        if self.known.validator.is_none() || self.since_failure == 0 {
            return Err(Error::Cut { at: self.position });
        }
        self.since_failure = 0;
        Ok(Some(Bytes::new()))
    }

    fn is_at_end(&self) -> bool {
        self.goal().is_some_and(|goal| self.position >= goal)
    }

    /// Where the bytes asked for end, as far as that is known.
    fn goal(&self) -> Option<u64> {
        match (self.until, self.known.length) {
            (Some(until), Some(length)) => Some(until.min(length)),
            (until, length) => until.or(length),
        }
    }

    /// Waits for the next attempt after `error`, if there may be one.
    async fn recover(&mut self, error: Error) -> Result<(), Error> {
        if !may_retry(&error) {
            return Err(error);
        }
        if self.known.validator.is_none() {
            // Nothing would prove that the rest belongs to what has come.
            return Err(self.from.client.complain(&self.from.url, error));
        }
        debug!(host = self.from.url.host_str(), at = self.position, %error, "body is continued");
        self.since_failure = 0;
        let last = self.from.client.back_off(error, &mut self.attempts).await;
        last.map_err(|error| self.from.client.complain(&self.from.url, error))
    }

    /// Asks for the rest.
    async fn resume(&mut self) -> Result<Body, Error> {
        let range = Some((self.position, self.until));
        let Self { from: Provenance { client, origin, url, fields }, attempts, .. } = self;
        let (if_range, fields) = (self.known.validator.clone(), (**fields).clone());
        let ask = Ask { range, if_range, fields, ..Ask::default() };
        let Response { head, body } = client.get_within(origin, url, &ask, attempts).await?;
        self.known.check(&head)?;
        self.skip = match head.status {
            206 => 0,
            // The same version from its start: an origin that forgets ranges under load.
            200 => self.position,
            // Nothing behind the position: the cut was at the very end of an unknown length.
            _ if head.length == Some(self.position) => 0,
            _ => return Err(Error::Changed),
        };
        self.is_whole = head.range.is_none();
        if head.length.is_some() {
            self.known.length = head.length;
        }
        Ok(body)
    }
}

impl Known {
    /// Whether an answer to a conditional range is of this version.
    fn check(&self, head: &Head) -> Result<(), Error> {
        let other_length = matches!((self.length, head.length), (Some(a), Some(b)) if a != b);
        // An answer with all of it says which version it is; a part may leave that out.
        let other_version =
            head.status == 200 && self.validator.is_some() && self.validator != head.validator;
        let other_signs = self.validator.is_none() && self.signs.contradicted_by(&head.headers);
        if other_length || other_version || other_signs {
            return Err(Error::Changed);
        }
        if head.status == 206 && self.length.is_some() && head.length.is_none() {
            return Err(Error::Malformed("partial answer hides the length it had before"));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut debug = f.debug_struct("Download");
        debug.field("position", &self.position).field("known", &self.known).finish_non_exhaustive()
    }
}
