//! The control socket: HTTP and JSON over a Unix socket. See the crate `onvm-api` for the messages.
//!
//! Any user who may open the socket may stop the manager, so the limits here are against accidents and floods: one
//! request a connection, each part of it within a size and a time, and a number of connections that newer ones push
//! out.

mod connections;
pub(crate) mod metrics;
mod notify;
mod summary;

use std::{convert::Infallible, rc::Rc};

use http_body_util::{BodyExt, Full};
use hyper::{
    Method, StatusCode, Uri,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
};
use onvm_api::{self as wire, ApiError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    net::UnixListener,
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
};

use self::connections::Progress;
pub use self::{
    notify::notify_ready,
    summary::{LostWithNfs, Summary},
};
use crate::error::RunError;

/// Bytes of a request's body; an apply names one path.
const MAX_BODY: usize = 64 << 10;
/// Bytes of a body that are read where it is longer.
const MOST_READ: usize = 1 << 20;

/// A request, with the place for its answer.
#[derive(Debug)]
pub(crate) enum Request {
    Status(oneshot::Sender<Box<wire::Status>>),
    VerboseStatus(oneshot::Sender<Box<wire::Status>>),
    Metrics(oneshot::Sender<String>),
    Apply(
        wire::ApplyRequest,
        oneshot::Sender<Result<wire::ApplyReply, ApiError>>,
    ),
    Scale(
        wire::ScaleRequest,
        oneshot::Sender<Result<wire::ScaleReply, ApiError>>,
    ),
    Flows(
        wire::FlowsRequest,
        oneshot::Sender<Result<wire::FlowsReply, ApiError>>,
    ),
    DeleteFlows(
        wire::FlowsDeleteRequest,
        oneshot::Sender<Result<wire::FlowsDeleteReply, ApiError>>,
    ),
    Send(
        wire::SendRequest,
        oneshot::Sender<Result<wire::SendReply, ApiError>>,
    ),
    Logs(
        wire::LogsRequest,
        oneshot::Sender<Result<wire::LogsReply, ApiError>>,
    ),
    Stop(oneshot::Sender<()>),
}

type Requests = UnboundedSender<Request>;
type Response = hyper::Response<Full<Bytes>>;

/// Serves the control socket from a task of this thread.
pub(crate) fn serve(
    listener: std::os::unix::net::UnixListener,
) -> Result<UnboundedReceiver<Request>, RunError> {
    let failed = RunError::system("the control socket cannot be watched");
    listener.set_nonblocking(true).map_err(&failed)?;
    let listener = UnixListener::from_std(listener).map_err(&failed)?;
    let (requests, receiver) = unbounded_channel();
    let answer = move |request, progress| one(request, requests.clone(), progress);
    tokio::task::spawn_local(connections::accept(listener, answer));
    Ok(receiver)
}

async fn one(
    request: hyper::Request<Incoming>,
    requests: Requests,
    progress: Rc<Progress>,
) -> Result<Response, Infallible> {
    let (head, body) = request.into_parts();
    let body = receive(body).await;
    progress.asked();
    let response = match body {
        Ok(Some(body)) => answer(&head.method, &head.uri, &body, &requests).await,
        Ok(None) => {
            let message = format!("The request has a body of more than {MAX_BODY} bytes");
            refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                message,
                "Send one of the messages of onvm-api.",
            )
        }
        Err(e) => refuse(
            StatusCode::BAD_REQUEST,
            format!("The request is cut: {e}"),
            "Send it whole.",
        ),
    };
    progress.answered();
    Ok(response)
}

/// The whole body; none where it is too long. What is too long is read on for a while and forgotten: its sender looks for the answer
/// only when all is written.
async fn receive(mut body: Incoming) -> Result<Option<Vec<u8>>, hyper::Error> {
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len();
        if length <= MAX_BODY {
            kept.extend_from_slice(&data);
        } else if length > MOST_READ {
            break;
        }
    }
    Ok((length <= MAX_BODY).then_some(kept))
}

async fn answer(method: &Method, uri: &Uri, body: &[u8], requests: &Requests) -> Response {
    match (method, uri.path()) {
        (&Method::GET, wire::STATUS_PATH) => {
            let request = match uri.query() {
                Some(wire::VERBOSE) => Request::VerboseStatus,
                _ => Request::Status,
            };
            match ask(requests, request).await {
                Some(status) => json(StatusCode::OK, &*status),
                None => gone(),
            }
        }
        (&Method::GET, wire::METRICS_PATH) => match ask(requests, Request::Metrics).await {
            Some(text) => {
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                response(StatusCode::OK, kind, text.into())
            }
            None => gone(),
        },
        (&Method::POST, wire::APPLY_PATH) => message(body, requests, Request::Apply).await,
        (&Method::POST, wire::SCALE_PATH) => message(body, requests, Request::Scale).await,
        (&Method::POST, wire::FLOWS_PATH) => message(body, requests, Request::Flows).await,
        (&Method::POST, wire::FLOWS_DELETE_PATH) => message(body, requests, Request::DeleteFlows).await,
        (&Method::POST, wire::LOGS_PATH) => message(body, requests, Request::Logs).await,
        (&Method::POST, wire::SEND_PATH) => message(body, requests, Request::Send).await,
        (&Method::POST, wire::STOP_PATH) => match ask(requests, Request::Stop).await {
            Some(()) => {
                let version = wire::API_VERSION;
                json(StatusCode::OK, &wire::StopReply { version })
            }
            None => gone(),
        },
        _ => refuse(
            StatusCode::NOT_FOUND,
            "No such path or method".to_owned(),
            "Available are GET /v1/status, POST /v1/apply, POST /v1/scale, POST /v1/flows, POST /v1/flows/delete, POST /v1/send, POST /v1/stop and GET /metrics.",
        ),
    }
}

/// A request with a message.
async fn message<M: DeserializeOwned, R: Serialize>(
    body: &[u8],
    requests: &Requests,
    request: impl FnOnce(M, oneshot::Sender<Result<R, ApiError>>) -> Request,
) -> Response {
    let (message, version) = match read::<M>(body) {
        Ok(read) => read,
        Err(e) => {
            let message = format!("The request cannot be read: {e}");
            let remedy = "Send the message of onvm-api that the path asks for, as JSON.";
            return refuse(StatusCode::BAD_REQUEST, message, remedy);
        }
    };
    if version != wire::API_VERSION {
        let message = format!(
            "The request has version {version}, and this manager reads version {}",
            wire::API_VERSION
        );
        let remedy = "Use the `onvmc` that belongs to this `onvm-run`.";
        return refuse(StatusCode::BAD_REQUEST, message, remedy);
    }
    match ask(requests, |reply| request(message, reply)).await {
        Some(Ok(reply)) => json(StatusCode::OK, &reply),
        Some(Err(error)) => json(code(&error), &error),
        None => gone(),
    }
}

/// A message and its version.
fn read<M: DeserializeOwned>(body: &[u8]) -> Result<(M, u32), serde_json::Error> {
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let message = serde_json::from_slice(body)?;
    let Version { version } = serde_json::from_slice(body)?;
    Ok((message, version))
}

async fn ask<T>(requests: &Requests, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    requests.send(request(reply)).ok()?;
    answer.await.ok()
}

fn code(error: &ApiError) -> StatusCode {
    match error.code.as_str() {
        ApiError::BAD_REQUEST
        | ApiError::BAD_BUNDLE
        | ApiError::NOT_CHANGEABLE
        | ApiError::UNKNOWN_NF
        | ApiError::UNKNOWN_PORT
        | ApiError::BAD_MESSAGE
        | ApiError::OUT_OF_RANGE => StatusCode::UNPROCESSABLE_ENTITY,
        ApiError::BASE_MOVED | ApiError::BUSY => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn gone() -> Response {
    let remedy = "Wait for its end and start it again.";
    let error = ApiError::new(ApiError::INTERNAL, "The manager is stopping", remedy);
    json(StatusCode::SERVICE_UNAVAILABLE, &error)
}

fn refuse(status: StatusCode, message: String, remedy: &str) -> Response {
    json(status, &ApiError::new(ApiError::BAD_REQUEST, message, remedy))
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(text) => response(status, "application/json", text.into()),
        Err(e) => response(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain",
            e.to_string().into(),
        ),
    }
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response {
    let mut response = hyper::Response::new(Full::new(body));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
