//! The jobs of the writer.

use super::failures::Stopped;
use super::order::Order;
use super::purpose::JobKind;
use super::write::Write;
use crate::error::Error;
use crate::waits::Call;
use std::any::Any;
use tokio::sync::oneshot;

/// Maximum number of queued jobs; further callers wait until there is room.
pub const MAX_QUEUED_JOBS: usize = 4096;

/// One unit of writing. It may be run more than once before it is committed.
pub trait Job: Any + Send {
    fn kind(&self) -> JobKind;
    /// Returns the order of the job, if it locks rows that jobs of other purchases lock too.
    fn order(&self) -> Option<&Order>;
    fn order_mut(&mut self) -> Option<&mut Order>;
    /// Returns the weight of the job's items, which are written together with those of all jobs of its type; 0 for a
    /// job that is run by itself.
    fn items(&self) -> usize;
    /// Runs the job together with the items of `others`, which are of its type.
    fn run(&mut self, write: &mut Write<'_>, others: &mut [&mut dyn Job]) -> Result<(), Error>;
    /// Answers the caller with the result of `run`, or with `error`.
    fn answer(&mut self, error: Option<Error>);
    /// Returns whether the caller still waits for the answer.
    fn is_awaited(&self) -> bool;
}

/// A job that is run by itself.
pub struct Work<T, F> {
    pub kind: JobKind,
    pub order: Option<Order>,
    pub work: F,
    pub result: Option<T>,
    pub reply: Option<Reply<T>>,
    pub call: Option<Call>,
}

impl<T, F> Job for Work<T, F>
where
    T: Send + 'static,
    F: FnMut(&mut Write<'_>) -> Result<T, Error> + Send + 'static,
{
    fn kind(&self) -> JobKind {
        self.kind
    }

    fn order(&self) -> Option<&Order> {
        self.order.as_ref()
    }

    fn order_mut(&mut self) -> Option<&mut Order> {
        self.order.as_mut()
    }

    fn items(&self) -> usize {
        0
    }

    fn run(&mut self, write: &mut Write<'_>, _: &mut [&mut dyn Job]) -> Result<(), Error> {
        self.result = None;
        self.result = Some((self.work)(write)?);
        Ok(())
    }

    fn answer(&mut self, error: Option<Error>) {
        self.call = None;
        reply(&mut self.reply, &mut self.result, error);
    }

    fn is_awaited(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }
}

/// Items, and their weight in the size of a group: one item, a request of a device, has up to 500 events.
pub struct Items<I> {
    pub items: Vec<I>,
    pub weight: usize,
}

impl<I> From<Vec<I>> for Items<I> {
    fn from(items: Vec<I>) -> Self {
        Self {
            weight: items.len(),
            items,
        }
    }
}

pub struct Batch<I, O, F> {
    pub kind: JobKind,
    pub items: Vec<I>,
    /// Weight of the items in the size of a group.
    pub weight: usize,
    pub work: F,
    pub result: Option<Vec<O>>,
    pub reply: Option<Reply<Vec<O>>>,
    pub call: Option<Call>,
}

impl<I, O, F> Job for Batch<I, O, F>
where
    I: Send + 'static,
    O: Send + 'static,
    F: Fn(&mut Write<'_>, &[&I]) -> Result<Vec<O>, Error> + Send + 'static,
{
    fn kind(&self) -> JobKind {
        self.kind
    }

    fn order(&self) -> Option<&Order> {
        None
    }

    fn order_mut(&mut self) -> Option<&mut Order> {
        None
    }

    fn items(&self) -> usize {
        self.weight.max(self.items.len())
    }

    fn run(&mut self, write: &mut Write<'_>, others: &mut [&mut dyn Job]) -> Result<(), Error> {
        self.result = None;
        let others = others
            .iter_mut()
            .filter_map(|other| (&mut **other as &mut dyn Any).downcast_mut::<Self>());
        let others: Vec<&mut Self> = others.collect();
        let items: Vec<&I> = self
            .items
            .iter()
            .chain(others.iter().flat_map(|other| &other.items))
            .collect();
        let mut answers = (self.work)(write, &items)?.into_iter();
        self.result = Some(answers.by_ref().take(self.items.len()).collect());
        for other in others {
            other.result = Some(answers.by_ref().take(other.items.len()).collect());
        }
        Ok(())
    }

    fn answer(&mut self, error: Option<Error>) {
        self.call = None;
        reply(&mut self.reply, &mut self.result, error);
    }

    fn is_awaited(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }
}

/// Channel for the result of a job.
pub type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// Answers the caller, once. A caller that no longer waits is ignored.
fn reply<T>(to: &mut Option<Reply<T>>, result: &mut Option<T>, error: Option<Error>) {
    let Some(to) = to.take() else { return };
    let result = match error {
        Some(error) => Err(error),
        None => result.take().ok_or_else(|| Error::unavailable(Stopped)),
    };
    drop(to.send(result));
}
