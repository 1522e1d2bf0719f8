//! Fields that tell servers who the user is. The proxy alone may set them (F3): the
//! client's own go, and with them all that a server may take for them.

use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderName, Request};
use regex::Regex;

use crate::message::{Body, hop};

/// The fields that a middleware may set.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// By name.
    pub(super) names: Box<[HeaderName]>,
    /// By a pattern over names as Go spells them.
    pub(super) pattern: Option<Regex>,
}

impl Fields {
    /// Whether a field is one of these.
    pub(super) fn holds(&self, name: &HeaderName) -> bool {
        !is_kept(name) && (self.names.contains(name) || self.matches(name.as_str()))
    }

    /// Whether a field is one of these, or one that a server may take for it: each
    /// character that is no letter or digit read as `-` (`X_User` for `X-User`).
    fn resembles(&self, name: &HeaderName) -> bool {
        if is_kept(name) {
            return false;
        }
        let same = |own: &HeaderName| plain(own.as_str()).eq(plain(name.as_str()));
        self.names.iter().any(same)
            || self.matches(name.as_str())
            || self.matches(&plain(name.as_str()).map(char::from).collect::<String>())
    }

    fn matches(&self, name: &str) -> bool {
        self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(&canonical(name)))
    }

    /// Takes the client's own out of a request, and out of the trailers that may follow
    /// its body (H8).
    pub(super) fn take_out(self: &Arc<Self>, request: &mut Request<Body>) {
        self.take_from(request.headers_mut());
        if http_body::Body::is_end_stream(request.body()) {
            return;
        }
        let fields = Arc::clone(self);
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = body.with_trailers(move |trailers| fields.take_from(trailers));
    }

    fn take_from(&self, headers: &mut HeaderMap) {
        let found: Vec<_> = headers.keys().filter(|name| self.resembles(name)).cloned().collect();
        for name in found {
            headers.remove(name);
        }
    }
}

/// Fields that say where a message goes and where it ends. A name or pattern that holds
/// one of them has no effect on it, as in Go, which keeps them beside the others.
fn is_kept(name: &HeaderName) -> bool {
    *name == HOST || hop::is_of_message(name)
}

fn plain(name: &str) -> impl Iterator<Item = u8> {
    name.bytes().map(|byte| if byte.is_ascii_alphanumeric() { byte } else { b'-' })
}

/// `x-request-id` as Go spells it, which patterns are written for: `X-Request-Id`.
fn canonical(name: &str) -> String {
    let mut starts = true;
    let letter = |byte: u8| {
        let letter = if starts { byte.to_ascii_uppercase() } else { byte };
        starts = byte == b'-';
        char::from(letter)
    };
    name.bytes().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;
    use crate::middleware::testing;

    fn fields(names: &[&'static str], pattern: &str) -> Arc<Fields> {
        let names = names.iter().map(|name| HeaderName::from_static(name)).collect();
        let pattern = (!pattern.is_empty()).then(|| Regex::new(pattern).unwrap());
        Arc::new(Fields { names, pattern })
    }

    #[test]
    fn sec_f3_what_resembles_an_own_field_goes() {
        let own = fields(&["x-user"], "^X-Auth-|Mail$");
        for (name, goes) in [
            ("x-user", true),
            ("x_user", true),
            ("x.user", true),
            ("x-users", false),
            ("x-auth-id", true),
            ("x_auth_id", true),
            ("remote_mail", true),
            ("x-authid", false),
            ("accept", false),
        ] {
            let mut request = testing::get("/", &[(name, "evil")]);
            own.take_out(&mut request);
            assert_eq!(request.headers().is_empty(), goes, "{name}");
        }
    }

    #[test]
    fn a_pattern_does_not_reach_where_a_message_goes_and_ends() {
        let fields_in = [("host", "a"), ("content-length", "1"), ("upgrade", "x"), ("x", "y")];
        let mut request = testing::get("/", &fields_in);

        fields(&[], ".").take_out(&mut request);

        let left: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["host", "content-length", "upgrade"]);
    }

    #[tokio::test]
    async fn sec_h8_trailers_name_no_user() {
        let mut trailers = HeaderMap::new();
        for name in ["x-user", "x_user", "x-sum"] {
            trailers.insert(name, "evil".parse().unwrap());
        }
        let frames = [Ok(http_body::Frame::trailers(trailers))];
        let body = Body::boxed(StreamBody::new(futures_util::stream::iter(frames)));
        let mut request = Request::new(body);

        fields(&["x-user"], "").take_out(&mut request);

        let whole = request.into_body().collect().await.unwrap();
        let left: Vec<_> = whole.trailers().unwrap().keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-sum"]);
    }
}
