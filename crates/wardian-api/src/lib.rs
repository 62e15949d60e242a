//! Wire types, routes and the OpenAPI document
