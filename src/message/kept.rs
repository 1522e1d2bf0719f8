//! A request's head, kept so that the request can be sent again.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use super::Body;

/// A copy of a request without its body.
#[derive(Clone, Debug)]
pub struct Kept {
    method: Method,
    uri: Uri,
    version: Version,
    /// A list: cloning a map would build its index for a request that is rarely sent again.
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Kept {
    /// Copies a request's head.
    pub fn of(request: &Request<Body>) -> Self {
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            fields: fields(request.headers()),
        }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The target as it was.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The fields as they were.
    pub fn fields(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.fields.iter().map(|(name, value)| (name, value))
    }

    /// The request again, with this body.
    pub fn request(&self, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        request.headers_mut().reserve(self.fields.len());
        for (name, value) in &self.fields {
            request.headers_mut().append(name, value.clone());
        }
        request
    }
}

fn fields(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields = Vec::with_capacity(headers.len());
    fields.extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_request_comes_back_as_it_was() {
        let request = Request::put("/a?b")
            .version(Version::HTTP_2)
            .header("x-a", "1")
            .header("x-a", "2")
            .header("host", "a.test")
            .body(Body::from("x"))
            .unwrap();

        let again = Kept::of(&request).request(Body::empty());

        assert_eq!(again.method(), request.method());
        assert_eq!(again.uri(), request.uri());
        assert_eq!(again.version(), request.version());
        assert_eq!(again.headers(), request.headers());
    }
}
