//! One connection from its first byte to its last.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::{Duration, SystemTime},
};

use http::{Request, Response, StatusCode};
use hyper::{
    body::Incoming,
    rt::{Read, ReadBuf, Write},
    server::conn::http1,
    service::service_fn,
};

use super::{
    guard::{
        Exchange, Guard, Limits, Refusal,
        patience::{Late, Patience, Time, within},
    },
    problem::Problem,
    wire::{Abort, Body},
};

/// What hyper buffers of a response (RULES 31): it polls a body that far ahead.
const WRITE_BUFFER_BYTES: usize = 16 << 10;
/// How long a client is given to read a refusal, and to see the end of the connection.
const FAREWELL: Duration = Duration::from_secs(1);
/// What is read and thrown away meanwhile: closing a socket that holds unread bytes makes the
/// kernel send a reset, which may overtake the response.
const FAREWELL_BYTES: usize = 256 << 10;

/// When to come back to a node that has no room for a connection, in seconds.
const BUSY_SECONDS: u32 = 5;

/// How connections are served.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// What a head may be at most.
    pub limits: Limits,
    /// How long a client is waited for.
    pub patience: Patience,
}

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// Both sides were done.
    Closed,
    /// The client broke the rules.
    Refused(Refusal),
    /// The client was too late.
    Late(Late),
    /// The connection broke, or a response could not be finished.
    Broken(hyper::Error),
}

/// What a handler makes of a request. An error ends the connection without another byte.
pub type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Abort>>>>;

/// Serves the requests that come over `io`, one after another, until either side is done.
///
/// When `draining` is ready the request in progress is the last one.
///
/// # Cancellation
/// Drops the connection and the response in progress.
pub async fn serve<S, H>(
    io: S,
    options: Options,
    time: Time,
    draining: impl Future<Output = ()>,
    handler: H,
) -> End
where
    S: Read + Write + Unpin + 'static,
    H: Fn(Request<Incoming>) -> Answer + Unpin + 'static,
{
    let guard = Guard::new(io, options.limits, time.now);
    let exchange = Rc::clone(guard.exchange());
    let tickets = Rc::clone(&exchange);
    let service = service_fn(move |request| answer(&tickets, handler(request)));
    let mut connection = builder(options.limits).serve_connection(guard, service);

    let mut draining = pin!(draining);
    let mut drains = false;
    let conversation = poll_fn(|cx| {
        if !drains && draining.as_mut().poll(cx).is_ready() {
            drains = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        connection.poll_without_shutdown(cx)
    });
    let outcome = within(conversation, &exchange, options.patience, time).await;
    let guard = connection.into_parts().io;
    let refusal = match outcome {
        Err(Late::Head | Late::Body) => Some(Refusal::Slow),
        _ => guard.refusal(),
    };
    match (refusal, outcome) {
        (Some(refusal), _) => {
            refuse(guard, refusal, time).await;
            End::Refused(refusal)
        }
        (None, Err(late)) => End::Late(late),
        (None, Ok(Err(error))) => End::Broken(error),
        (None, Ok(Ok(()))) => {
            close(guard, time).await;
            End::Closed
        }
    }
}

/// The handler's answer with the ticket that holds the next request back.
fn answer(exchange: &Rc<Exchange>, answer: Answer) -> Answer {
    let ticket = exchange.ticket();
    Box::pin(async move { Ok(answer.await?.map(|body| body.with_ticket(ticket))) })
}

fn builder(limits: Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The guard holds heads back, so hyper's own timer would run while there is nothing to read.
    builder.header_read_timeout(None);
    builder.max_buf_size(WRITE_BUFFER_BYTES.max(limits.header_bytes));
    builder.max_headers(limits.header_fields);
    builder
}

/// Tells the client why, if its last request was not being answered already, and closes.
async fn refuse<S: Read + Write + Unpin>(guard: Guard<S>, refusal: Refusal, time: Time) {
    let may_answer = guard.may_answer();
    let mut io = guard.into_inner();
    let text = match may_answer {
        true => text_of(&Problem::refused(refusal), SystemTime::now()),
        false => String::new(),
    };
    let farewell = pin!(async {
        write_all(&mut io, text.as_bytes()).await?;
        hang_up(&mut io).await
    });
    // Whether the client reads it is up to the client.
    let _ = at_most(farewell, time).await;
}

/// Answers whatever the client will ask with 503, since there is no room for its connection.
pub async fn turn_away<S: Read + Write + Unpin>(mut io: S, time: Time) {
    let problem =
        Problem::busy("another connection", BUSY_SECONDS).hint("`limits.connections` is the bound");
    let text = text_of(&problem, SystemTime::now());
    let farewell = pin!(async {
        write_all(&mut io, text.as_bytes()).await?;
        hang_up(&mut io).await
    });
    // Whether the client reads it is up to the client.
    let _ = at_most(farewell, time).await;
}

/// Closes after the last response, so that the client can read all of it.
async fn close<S: Read + Write + Unpin>(guard: Guard<S>, time: Time) {
    if guard.is_at_end() {
        return;
    }
    let mut io = guard.into_inner();
    let _ = at_most(pin!(hang_up(&mut io)), time).await;
}

async fn at_most(
    farewell: Pin<&mut impl Future<Output = io::Result<()>>>,
    time: Time,
) -> Option<()> {
    let mut farewell = farewell;
    let mut timer = (time.sleep)(FAREWELL);
    poll_fn(|cx| match farewell.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result.ok()),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| None),
    })
    .await
}

/// A whole response, as the stream has it.
fn text_of(problem: &Problem, now: SystemTime) -> String {
    let reason = StatusCode::from_u16(problem.status()).ok().and_then(|s| s.canonical_reason());
    let (body, date) = (problem.to_json(), httpdate::fmt_http_date(now));
    let allow = problem.allow.map(|allow| format!("allow: {allow}\r\n")).unwrap_or_default();
    let retry = problem.retry_after_seconds.map(|after| format!("retry-after: {after}\r\n"));
    let retry = retry.unwrap_or_default();
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n{allow}{retry}\
         date: {date}\r\nconnection: close\r\n\r\n{body}",
        problem.status(),
        reason.unwrap_or_default(),
        body.len(),
    )
}

async fn write_all<S: Write + Unpin>(io: &mut S, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match poll_fn(|cx| Pin::new(&mut *io).poll_write(cx, bytes)).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = &bytes[written..],
        }
    }
    poll_fn(|cx| Pin::new(&mut *io).poll_flush(cx)).await
}

/// Says that nothing more comes, and reads what the client still sends, within reason.
async fn hang_up<S: Read + Write + Unpin>(io: &mut S) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *io).poll_shutdown(cx)).await?;
    let mut left = FAREWELL_BYTES;
    loop {
        let mut space = [0; 4096];
        let mut read = ReadBuf::new(&mut space);
        poll_fn(|cx| Pin::new(&mut *io).poll_read(cx, read.unfilled())).await?;
        let bytes = read.filled().len();
        if bytes == 0 || bytes > left {
            return Ok(());
        }
        left -= bytes;
    }
}

#[cfg(test)]
mod tests;
