//! One request with any method to a server that is ours: a node's operator listener.
//!
//! It goes out once. What it does there may not be done twice, so it is sent again only where a
//! connection that had been idle closed before it took anything.

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, StatusCode,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT},
};
use url::{Position, Url};

use super::{Body, Client, Error, Origin, connection::Outgoing};
use crate::runtime;

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Called {
    /// Whatever it is: no status is an error here.
    pub status: StatusCode,
    /// All fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Client {
    /// Sends one request to `url` below `server`, with `body` as JSON where there is one, and reads
    /// all of the answer, `most_bytes` of it.
    ///
    /// # Errors
    /// No connection, silence, or an answer that breaks off; [`Error::Malformed`] where it is longer
    /// than that.
    ///
    /// # Cancellation
    /// The server may have taken the request.
    pub async fn call(
        &self,
        server: &Origin,
        method: Method,
        url: &Url,
        body: Option<Bytes>,
        most_bytes: usize,
    ) -> Result<Called, Error> {
        let mut may_reuse = method.is_safe();
        let (response, lease) = loop {
            let (mut lease, reused) = self.lease(server, url, may_reuse).await?;
            let request = request(server, method.clone(), url, body.clone())?;
            self.count(|stats| stats.requests += 1);
            let first_byte = self.options().first_byte;
            match runtime::timeout(first_byte, lease.send(request)).await {
                Ok(Ok(response)) => break (response, lease),
                Ok(Err(Error::Connection(_))) if reused => may_reuse = false,
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(Error::Silent { after: first_byte }),
            }
        };
        let (parts, incoming) = response.into_parts();
        let left = http_body::Body::size_hint(&incoming).exact();
        let mut source = Body::new(incoming, lease, 0, left, self.options().inactivity);
        let mut body = Vec::new();
        while let Some(bytes) = source.chunk().await? {
            if body.len() + bytes.len() > most_bytes {
                return Err(Error::Malformed("an answer longer than any that is expected"));
            }
            body.extend_from_slice(&bytes);
        }
        Ok(Called { status: parts.status, headers: parts.headers, body })
    }
}

fn request(
    server: &Origin,
    method: Method,
    url: &Url,
    body: Option<Bytes>,
) -> Result<Request<Outgoing>, Error> {
    let has_length = body.is_some() || !method.is_safe();
    let length = body.as_ref().map_or(0, Bytes::len);
    let mut request = Request::builder()
        .method(method)
        .uri(&url[Position::BeforePath..Position::AfterQuery])
        .header(HOST, &url[Position::BeforeHost..Position::AfterPort])
        .header(USER_AGENT, concat!("kithara/", env!("CARGO_PKG_VERSION")))
        .header(ACCEPT, "application/json");
    if has_length {
        request = request.header(CONTENT_LENGTH, length);
    }
    if body.is_some() {
        request = request.header(CONTENT_TYPE, "application/json");
    }
    let request = request.body(Outgoing(body));
    let mut request = request.map_err(|_| Error::Path("cannot be a request target"))?;
    server.headers.iter().for_each(|(name, value)| {
        request.headers_mut().append(name, value.clone());
    });
    Ok(request)
}
