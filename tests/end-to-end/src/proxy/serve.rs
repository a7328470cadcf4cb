//! HTTP/1.1 on a local port for handlers that may also close the connection without a word.
//!
//! hyper itself rather than a framework on it: those answer every request, and a lost answer is
//! what the fault proxy is for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Larger bodies are refused; `DynamoDB` takes 4 MB in a transaction.
const LARGEST: usize = 16 << 20;

/// A server; it ends with this value, and its connections with it.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

/// The connection ends without an answer.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer")]
struct Closed;

impl Server {
    /// Serves on a free port of this machine. A handler that gives nothing closes the connection.
    pub(crate) async fn start<H, F>(handler: H) -> Result<Self>
    where
        H: Fn(SocketAddr, Request<Bytes>) -> F + Send + Sync + 'static,
        F: Future<Output = Option<Response<Bytes>>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, Arc::new(handler)));
        Ok(Self { address, task })
    }

    /// Its address as a URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<H, F>(listener: TcpListener, handler: Arc<H>)
where
    H: Fn(SocketAddr, Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Option<Response<Bytes>>> + Send + 'static,
{
    // Dropped with this task, and every connection with it.
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    open.spawn(converse(stream, peer, handler.clone()));
                }
                // Out of file descriptors, for example; it may pass.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Some(_) = open.join_next() => {}
        }
    }
}

async fn converse<H, F>(stream: TcpStream, peer: SocketAddr, handler: Arc<H>)
where
    H: Fn(SocketAddr, Request<Bytes>) -> F + Send + Sync + 'static,
    F: Future<Output = Option<Response<Bytes>>> + Send + 'static,
{
    // Only slower without it.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<Incoming>| {
        let handler = handler.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = Limited::new(body, LARGEST).collect().await;
            let body = body.map_err(|_| Closed)?.to_bytes();
            let answer = handler(peer, Request::from_parts(head, body)).await;
            Ok::<_, Closed>(answer.ok_or(Closed)?.map(Full::new))
        }
    });
    // Its errors are ends of the connection: the caller's, or `Closed`.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
