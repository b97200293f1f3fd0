//! Requests to a control socket, right or wrong, whatever user its manager runs as.

use std::{path::Path, time::Duration};

use onvm_api::client::{connect, exchange};

/// Longer than any apply may take.
const ANSWER: Duration = Duration::from_secs(40);

/// Sends one request and gives the status code and the body of the answer.
pub fn request(
    socket: &Path,
    method: &str,
    path: &str,
    body: Option<&str>,
) -> std::io::Result<(u16, String)> {
    let stream = connect(socket, ANSWER)?;
    let answer = exchange(&stream, method, path, body.unwrap_or("").as_bytes(), ANSWER)?;
    let body = String::from_utf8(answer.body).map_err(std::io::Error::other)?;
    Ok((answer.code, body))
}
