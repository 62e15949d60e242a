//! `wardian image`: what machines start from.

use std::path::Path;

use futures::TryStreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use wardian_api::wire::{Image, ImageList, ImportProgress, ImportRequest};
use wardian_client::ClientError;

use super::{
    Session, args,
    failure::{Failure, Problem},
    output::{Output, file_failure},
    table::{size, table},
};

pub(crate) async fn run(session: &Session, command: args::Image) -> Result<(), Failure> {
    match command {
        args::Image::Import(arguments) => import(session, arguments).await,
        args::Image::Ls => ls(session).await,
        args::Image::Rm(arguments) => rm(session, arguments).await,
    }
}

async fn ls(session: &Session) -> Result<(), Failure> {
    let list = ImageList { images: session.client().await?.images().await? };
    if session.output.json {
        return session.output.json(&list);
    }
    if list.images.is_empty() {
        session.output.message("no images; `wardian image import NAME FILE` makes one of a disk");
    }
    session.output.data(render(&list.images))
}

fn render(images: &[Image]) -> String {
    table(
        ["NAME", "SIZE", "ON DISK", "FORMAT", "BOOTS BY", "DIGEST"],
        images.iter().map(|image| {
            let boots = if image.kernel { "kernel" } else { "disk" };
            [
                image.name.clone(),
                size(image.virtual_size_bytes),
                size(image.disk_size_bytes),
                image.format.clone(),
                boots.to_owned(),
                image.digest.chars().take(12).collect(),
            ]
        }),
    )
}

/// An image that can't be removed doesn't keep the others from being so.
async fn rm(session: &Session, arguments: args::ImageRemove) -> Result<(), Failure> {
    let client = session.client().await?;
    let mut refused = Vec::<Problem>::new();
    for name in &arguments.names {
        match client.remove_image(name.as_str()).await {
            Ok(()) => session.output.message(format_args!("image {name} removed")),
            Err(error @ ClientError::Refused(_)) => refused.push(error.into()),
            Err(error) => return Err(error.into()),
        }
    }
    for problem in &refused {
        session.output.problem(problem);
    }
    if refused.is_empty() { Ok(()) } else { Err(Failure::Exit(1)) }
}

async fn import(session: &Session, arguments: args::ImageImport) -> Result<(), Failure> {
    let request = ImportRequest {
        name: arguments.name.to_string(),
        path: absolute(&arguments.file)?,
        kernel: arguments.kernel.as_deref().map(absolute).transpose()?,
        initrd: arguments.initrd.as_deref().map(absolute).transpose()?,
        command_line: arguments.command_line,
    };
    let client = session.client().await?;
    let mut progress = std::pin::pin!(client.import_image(&request).await?);
    let mut line = Line::new(session.output);
    let image = tokio::select! {
        image = async {
            while let Some(step) = progress.try_next().await? {
                match step {
                    ImportProgress::Doing { step, percent } => line.show(&step, percent),
                    ImportProgress::Done { image } => return Ok(image),
                }
            }
            Err(Failure::new(format!("the daemon did not say how the import of {} ended", request.name)))
        } => image,
        _ = tokio::signal::ctrl_c() => Err(Failure::Exit(130)),
    };
    line.clear();
    if let Err(Failure::Exit(_)) = image {
        session.output.warning(format_args!("the import of {} was given up; nothing of it is kept", request.name));
    }
    let image = image?;
    if session.output.json {
        return session.output.json(&image);
    }
    let (seen, kept) = (size(image.virtual_size_bytes), size(image.disk_size_bytes));
    session.output.message(format_args!("image {} imported: {seen}, {kept} on disk", image.name));
    Ok(())
}

/// The daemon stands elsewhere, so it is told whole paths.
fn absolute(path: &Path) -> Result<String, Failure> {
    let whole = std::path::absolute(path).map_err(|error| file_failure("find", path, &error))?;
    let text = whole.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::new(format!("the path {} is not UTF-8, so the daemon can't be told", whole.display())))
}

/// How far an import is: one line that is redrawn, or a line per step.
struct Line {
    output: Output,
    bar: Option<ProgressBar>,
    step: String,
}

impl Line {
    fn new(output: Output) -> Self {
        let bar = (output.live && !output.quiet).then(|| {
            let bar = ProgressBar::new(100);
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}  {elapsed}  {bar:30} {percent:>3} %") {
                bar.set_style(style);
            }
            bar
        });
        Self { output, bar, step: String::new() }
    }

    fn show(&mut self, step: &str, percent: Option<u8>) {
        if let Some(bar) = &self.bar {
            bar.set_message(step.to_owned());
            bar.set_position(percent.unwrap_or(0).into());
        } else if self.step != step {
            step.clone_into(&mut self.step);
            self.output.message(step);
        }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fixtures::image;

    #[test]
    fn images_are_a_table() {
        let disk = Image { name: "debian-12".into(), kernel: false, format: "qcow2".into(), ..image() };
        insta::assert_snapshot!(render(&[image(), disk]), @r"
        NAME       SIZE     ON DISK   FORMAT  BOOTS BY  DIGEST
        micro      1.0 GiB  12.0 MiB  raw     kernel    c0ffee012345
        debian-12  1.0 GiB  12.0 MiB  qcow2   disk      c0ffee012345
        ");
    }

    #[test]
    fn the_daemon_is_told_whole_paths() {
        assert_eq!(absolute(Path::new("/a/b")).unwrap(), "/a/b");
        assert!(absolute(Path::new("disk.raw")).unwrap().starts_with('/'));
    }
}
