//! Traefik's JSON, the dashboard's pages, SSE. Must never write anything.
