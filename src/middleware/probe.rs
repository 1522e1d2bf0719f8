//! A middleware for the tests of the chain: it does each of the things that a step may do.

use http::{HeaderValue, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::{Flow, Middleware, Rest};
use crate::message::{Body, Exchange, plain};

/// Its name and what it does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Added to `x-way`.
    pub name: String,
    /// What it does.
    pub what: What,
}

/// What it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// Marks request and answer.
    #[default]
    Both,
    /// Marks the request after a pause.
    Wait,
    /// Answers.
    Respond,
    /// Answers after a pause.
    RespondLater,
    /// Goes the rest of the way twice.
    Twice,
}

/// The step.
pub struct Step(Settings);

impl Step {
    fn mark(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0.name).unwrap()
    }
}

impl Middleware for Step {
    type Settings = Settings;
    type Memo = ();

    fn build(settings: &Settings) -> Result<Self, String> {
        Ok(Self(settings.clone()))
    }

    fn request(&self, _: &mut Exchange, request: &mut Request<Body>) -> Flow<()> {
        match self.0.what {
            What::Both => {
                request.headers_mut().append("x-way", self.mark());
                Flow::After(())
            }
            What::Respond => Flow::Respond(plain(StatusCode::IM_A_TEAPOT, "")),
            What::Wait | What::RespondLater => Flow::Wait,
            What::Twice => Flow::Around,
        }
    }

    async fn wait(
        &self,
        _: &mut Exchange,
        request: &mut Request<Body>,
    ) -> Result<(), Response<Body>> {
        tokio::task::yield_now().await;
        if self.0.what == What::RespondLater {
            return Err(plain(StatusCode::IM_A_TEAPOT, ""));
        }
        request.headers_mut().append("x-way", self.mark());
        Ok(())
    }

    fn response(&self, (): (), response: &mut Response<Body>) {
        response.headers_mut().append("x-way", self.mark());
    }

    async fn around(
        &self,
        exchange: &mut Exchange,
        request: Request<Body>,
        rest: Rest<'_>,
    ) -> Response<Body> {
        rest.run(exchange, Request::new(Body::empty())).await;
        let mut response = rest.run(exchange, request).await;
        response.headers_mut().append("x-way", HeaderValue::from_static("again"));
        response
    }
}
