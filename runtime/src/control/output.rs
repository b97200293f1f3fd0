//! What an NF prints goes to the manager's log, line by line.

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Child,
};

/// Bytes of a logged line; a longer one is logged in pieces, so that no NF can fill the manager's memory.
const LONGEST_LINE: usize = 4096;

/// Logs both streams until the process closes them.
pub(super) fn forward(instance: &str, child: &mut Child) {
    if let Some(stream) = child.stdout.take() {
        tokio::task::spawn_local(log(instance.to_owned(), stream));
    }
    if let Some(stream) = child.stderr.take() {
        tokio::task::spawn_local(log(instance.to_owned(), stream));
    }
}

async fn log(instance: String, mut stream: impl AsyncRead + Unpin) {
    let mut line = Vec::with_capacity(LONGEST_LINE);
    let mut chunk = [0; 1024];
    loop {
        // A broken pipe is the stream's end.
        let n = stream.read(&mut chunk).await.unwrap_or(0);
        for &byte in &chunk[..n] {
            if byte != b'\n' {
                line.push(byte);
            }
            if byte == b'\n' || line.len() == LONGEST_LINE {
                emit(&instance, &mut line);
            }
        }
        if n == 0 {
            return emit(&instance, &mut line);
        }
    }
}

fn emit(instance: &str, line: &mut Vec<u8>) {
    if !line.is_empty() {
        tracing::info!(target: "nf", instance, "{}", String::from_utf8_lossy(line));
        line.clear();
    }
}
