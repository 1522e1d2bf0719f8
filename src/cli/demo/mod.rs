//! `wharf demo` and the small server that stands in for a user's application in it, in
//! the examples and in the tests. Must never be needed by the proxy itself.

pub mod server;
