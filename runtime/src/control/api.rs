//! The control socket: HTTP and JSON over a Unix socket. See [`onvm_bundle::api`] for the messages.

use std::path::Path;

use axum::{
    Json, Router,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use onvm_bundle::api::{self as wire, ApiError};
use tokio::{
    net::UnixListener,
    sync::{
        mpsc::{UnboundedSender, unbounded_channel},
        oneshot,
    },
};

use super::rundir;
use crate::error::RunError;

/// A request, with the place for its answer.
#[derive(Debug)]
pub(super) enum Request {
    Status(oneshot::Sender<Box<wire::Status>>),
    Metrics(oneshot::Sender<String>),
    Apply(
        wire::ApplyRequest,
        oneshot::Sender<Result<wire::ApplyReply, ApiError>>,
    ),
    Stop(oneshot::Sender<()>),
}

type Requests = UnboundedSender<Request>;

/// Serves the control socket at `path` from a task of this thread.
pub(super) fn serve(path: &Path) -> Result<tokio::sync::mpsc::UnboundedReceiver<Request>, RunError> {
    let listener = UnixListener::bind(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidInput => RunError::SocketPath(path.to_path_buf()),
        _ => RunError::io(path, "Choose a directory that you may write to with --run-dir.")(e),
    })?;
    rundir::set_mode(path, 0o660).map_err(RunError::io(path, "Check the run directory's file system."))?;
    let (requests, receiver) = unbounded_channel();
    let router = Router::new()
        .route(wire::STATUS_PATH, get(status))
        .route(wire::APPLY_PATH, post(apply))
        .route(wire::STOP_PATH, post(stop))
        .route(wire::METRICS_PATH, get(metrics))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(requests);
    tokio::task::spawn_local(async move {
        if let Err(e) = axum::serve(listener, router).await {
            tracing::error!("the control socket failed: {e}");
        }
    });
    Ok(receiver)
}

async fn status(State(requests): State<Requests>) -> Response {
    match ask(&requests, Request::Status).await {
        Some(status) => Json(*status).into_response(),
        None => gone(),
    }
}

async fn metrics(State(requests): State<Requests>) -> Response {
    match ask(&requests, Request::Metrics).await {
        Some(text) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(axum::http::header::CONTENT_TYPE, kind)], text).into_response()
        }
        None => gone(),
    }
}

async fn apply(
    State(requests): State<Requests>,
    body: Result<Json<wire::ApplyRequest>, JsonRejection>,
) -> Response {
    let request = match body {
        Ok(Json(request)) if request.version == wire::API_VERSION => request,
        Ok(Json(request)) => {
            let message = format!(
                "The request has version {}, and this manager reads version {}",
                request.version,
                wire::API_VERSION
            );
            return refuse(
                StatusCode::BAD_REQUEST,
                ApiError::BAD_REQUEST,
                message,
                "Use the `onvmc` that belongs to this `onvm-run`.",
            );
        }
        Err(e) => {
            let remedy = "Send an ApplyRequest as JSON, with `content-type: application/json`.";
            return refuse(
                StatusCode::BAD_REQUEST,
                ApiError::BAD_REQUEST,
                e.body_text(),
                remedy,
            );
        }
    };
    match ask(&requests, |reply| Request::Apply(request, reply)).await {
        Some(Ok(reply)) => Json(reply).into_response(),
        Some(Err(error)) => (code(&error), Json(error)).into_response(),
        None => gone(),
    }
}

async fn stop(State(requests): State<Requests>) -> Response {
    match ask(&requests, Request::Stop).await {
        Some(()) => Json(wire::StopReply {
            version: wire::API_VERSION,
        })
        .into_response(),
        None => gone(),
    }
}

async fn unknown() -> Response {
    let remedy = "There are GET /v1/status, POST /v1/apply, POST /v1/stop and GET /metrics.";
    refuse(
        StatusCode::NOT_FOUND,
        ApiError::BAD_REQUEST,
        "No such path or method".to_owned(),
        remedy,
    )
}

async fn ask<T>(requests: &Requests, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    requests.send(request(reply)).ok()?;
    answer.await.ok()
}

fn code(error: &ApiError) -> StatusCode {
    match error.code.as_str() {
        ApiError::BAD_REQUEST | ApiError::BAD_BUNDLE | ApiError::NOT_CHANGEABLE => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        ApiError::BASE_MOVED | ApiError::BUSY => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn gone() -> Response {
    let remedy = "Wait for its end and start it again.";
    refuse(
        StatusCode::SERVICE_UNAVAILABLE,
        ApiError::INTERNAL,
        "The manager is stopping".to_owned(),
        remedy,
    )
}

fn refuse(status: StatusCode, code: &str, message: String, remedy: &str) -> Response {
    (status, Json(ApiError::new(code, message, remedy))).into_response()
}
