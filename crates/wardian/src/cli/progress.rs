//! Following operations to their end: a line per step under way on a terminal, a line per change elsewhere.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use wardian_api::wire::{Operation, OperationState, StepState};
use wardian_client::{Client, ClientError, Patience};

use super::{
    Session,
    failure::{Failure, Problem},
    output::Output,
    steps::{Change, Steps, milliseconds},
    table::duration,
};

/// How many operations are watched at once; each takes a connection. The others go on all the same.
const AT_ONCE: usize = 64;

/// Follows operations until all have ended; gives them as they ended, in the same order.
///
/// Interrupted, it says that they go on, and ends with 130.
pub(crate) async fn follow(
    session: &Session,
    client: &Client,
    operations: Vec<Operation>,
) -> Result<Vec<Operation>, Failure> {
    let mut board = Board::new(session.output, operations.len());
    let mut ended = operations.clone();
    let watched = {
        let watch = watch(client, &operations).try_for_each(|(index, operation)| {
            board.show(index, &operation);
            ended[index] = operation;
            std::future::ready(Ok(()))
        });
        tokio::select! {
            watched = watch => watched.map_err(Failure::from),
            _ = tokio::signal::ctrl_c() => Err(Failure::Exit(130)),
        }
    };
    board.clear();
    if let Err(Failure::Exit(_)) = watched {
        // Said even to those who want no messages: they would think that nothing goes on.
        session.output.warning(detached(&ended));
    }
    watched.map(|()| ended)
}

/// The operations as they change, each with its place in the list.
fn watch<'a>(
    client: &'a Client,
    operations: &'a [Operation],
) -> impl Stream<Item = Result<(usize, Operation), ClientError>> + 'a {
    stream::iter(operations.iter().enumerate())
        .map(|(index, operation)| {
            client.follow(&operation.id, Patience::default()).map_ok(move |operation| (index, operation)).boxed()
        })
        .flatten_unordered(AT_ONCE)
}

/// What goes on without us, and how to see it.
fn detached(operations: &[Operation]) -> String {
    let running: Vec<&Operation> =
        operations.iter().filter(|operation| operation.state == OperationState::Running).collect();
    match running.as_slice() {
        [only] => {
            let (kind, environment) = (only.kind.word(), &only.environment);
            format!("detached; {kind} of {environment} goes on, and `wardian status {environment}` shows how far it is")
        }
        several => {
            format!("detached; {} operations go on, and `wardian ls` shows how far they are", several.len())
        }
    }
}

/// Whether all operations reached their goal. Of those that didn't, it says why.
pub(crate) fn verdict(output: Output, operations: &[Operation]) -> Result<(), Failure> {
    let mut problems = operations.iter().filter(|operation| operation.state == OperationState::Failed).map(why);
    let Some(first) = problems.next() else { return Ok(()) };
    let Some(second) = problems.next() else { return Err(first.into()) };
    for problem in [first, second].iter().chain(&problems.collect::<Vec<_>>()) {
        output.problem(problem);
    }
    Err(Failure::Exit(1))
}

fn why(operation: &Operation) -> Problem {
    let (kind, environment) = (operation.kind.word(), &operation.environment);
    match operation.problem.clone() {
        Some(mut problem) => {
            problem.message = format!("{kind} of {environment} failed: {}", problem.message);
            problem.into()
        }
        None => Problem::new(format!("{kind} of {environment} failed"))
            .hint(format!("`wardian status {environment}` shows what is wrong")),
    }
}

/// Where progress is shown.
struct Board {
    output: Output,
    began: Instant,
    steps: Vec<Steps>,
    live: Option<Live>,
}

/// Lines that are redrawn: one for each step under way. Those of ended steps scroll up.
struct Live {
    lines: MultiProgress,
    style: ProgressStyle,
    bars: HashMap<(usize, String), ProgressBar>,
}

impl Board {
    fn new(output: Output, operations: usize) -> Self {
        let live = (output.live && !output.quiet).then(|| Live {
            lines: MultiProgress::new(),
            style: ProgressStyle::with_template("{spinner} {prefix}  {elapsed}  {wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
            bars: HashMap::new(),
        });
        let steps = std::iter::repeat_with(Steps::default).take(operations).collect();
        Self { output, began: Instant::now(), steps, live }
    }

    fn show(&mut self, index: usize, operation: &Operation) {
        let at = self.began.elapsed();
        let several = self.steps.len() > 1;
        for change in self.steps[index].observe(operation, at) {
            let line = if several { format!("{}: {change}", operation.environment) } else { change.to_string() };
            match &mut self.live {
                None => self.output.message(line),
                Some(live) => live.change(index, &change, line),
            }
        }
        if let Some(live) = &self.live {
            live.notes(index, operation);
        }
        if operation.state == OperationState::Done {
            self.say(&done(operation, at));
        }
    }

    fn say(&self, line: &str) {
        match &self.live {
            // Through the bars' own door, so that they are drawn below it.
            Some(live) => drop(live.lines.println(line)),
            None => self.output.message(line),
        }
    }

    fn clear(&mut self) {
        if let Some(live) = &mut self.live {
            live.bars.drain().for_each(|(_, bar)| bar.finish_and_clear());
            // The terminal is gone when this fails.
            let _ = live.lines.clear();
        }
    }
}

impl Live {
    fn change(&mut self, index: usize, change: &Change, line: String) {
        let key = (index, change.name.clone());
        if change.state == StepState::Doing {
            let bar = self.lines.add(ProgressBar::new_spinner());
            bar.set_style(self.style.clone());
            bar.set_prefix(line.replacen("  begins", "", 1));
            bar.enable_steady_tick(Duration::from_millis(100));
            self.bars.insert(key, bar);
        } else {
            if let Some(bar) = self.bars.remove(&key) {
                bar.finish_and_clear();
                self.lines.remove(&bar);
            }
            let _ = self.lines.println(line);
        }
    }

    fn notes(&self, index: usize, operation: &Operation) {
        for step in &operation.steps {
            if let Some(bar) = self.bars.get(&(index, step.name.clone())) {
                bar.set_message(step.note.clone().unwrap_or_default());
            }
        }
    }
}

fn done(operation: &Operation, at: Duration) -> String {
    format!("{}: {} done in {}", operation.environment, operation.kind.word(), duration(milliseconds(at)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{fixtures, output::Style};

    fn failed(environment: &str) -> Operation {
        Operation {
            state: OperationState::Failed,
            problem: Some(fixtures::problem()),
            ..fixtures::operation(environment, &[])
        }
    }

    #[test]
    fn a_failed_operation_names_the_environment_and_the_cause() {
        insta::assert_snapshot!(why(&failed("shop")).text(Style::PLAIN), @r"
        error: up of shop failed: machine web did not become ready within 5m: nothing accepts connections on tcp 80
          [    3.1] init: start
          [    3.2] httpd: Address in use
        hint: `wardian console shop/web` shows what it prints
        ");
    }

    #[test]
    fn an_operation_without_a_cause_says_where_to_look() {
        let operation = Operation { problem: None, ..failed("shop") };
        insta::assert_snapshot!(why(&operation).text(Style::PLAIN), @r"
        error: up of shop failed
        hint: `wardian status shop` shows what is wrong
        ");
    }

    #[test]
    fn who_detaches_is_told_that_it_goes_on() {
        let one = fixtures::operation("store", &[]);
        let ended = Operation { state: OperationState::Done, ..fixtures::operation("old", &[]) };
        insta::assert_snapshot!(detached(&[one.clone(), ended]), @"detached; up of store goes on, and `wardian status store` shows how far it is");
        insta::assert_snapshot!(detached(&[one.clone(), one]), @"detached; 2 operations go on, and `wardian ls` shows how far they are");
    }

    #[test]
    fn the_end_tells_how_long_it_took() {
        let operation = fixtures::operation("store", &[]);
        assert_eq!(done(&operation, Duration::from_millis(5234)), "store: up done in 5.2s");
    }
}
