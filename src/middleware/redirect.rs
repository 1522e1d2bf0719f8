//! What both redirects share: the request's URL and the answer.
