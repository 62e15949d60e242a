//! The JSON Schema of an environment file, for editors; generated from the types of [`crate::spec`].

use crate::spec::EnvironmentSpec;

/// The JSON Schema (draft 2020-12) of an environment file, with descriptions and defaults.
///
/// It describes single values; that machines exist that others start after, and the like, is for
/// [`super::read`] to say.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(EnvironmentSpec);
    schema.insert("title".to_owned(), "Environment file of Wardian".into());
    schema.to_value()
}
