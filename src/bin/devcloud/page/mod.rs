//! A web page that shows how the camera works: the timeline with the reasons of gaps, playback, the state of the camera, and
//! the switches of the owner and the operator. It listens only on the loopback interface.

pub(crate) mod bands;
pub(crate) mod clip;
mod guard;
pub(crate) mod hls;
mod routes;
pub(crate) mod seen;
pub(crate) mod shelf;
pub(crate) mod standing;

use crate::serve::Devcloud;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The port, unless it is taken.
const PORT: u16 = 8420;

/// The page. It is served until this is dropped.
pub(crate) struct Page {
    /// Its address.
    pub url: String,
    task: JoinHandle<()>,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Page {
    /// Serves it on 127.0.0.1.
    ///
    /// # Errors
    /// No port is free.
    pub(crate) async fn serve(cloud: &Arc<Devcloud>) -> Result<Page, String> {
        let at = |port| (Ipv4Addr::LOCALHOST, port);
        let listener = match TcpListener::bind(at(PORT)).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind(at(0)).await.map_err(|e| format!("the page finds no port: {e}"))?,
        };
        let port = listener.local_addr().map_err(|e| format!("the page's port: {e}"))?.port();
        let router = routes::router(Arc::clone(cloud), port);
        let task = tokio::spawn(async move {
            let _until_dropped = axum::serve(listener, router).await;
        });
        Ok(Page { url: format!("http://127.0.0.1:{port}/"), task })
    }
}
