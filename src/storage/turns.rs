//! A hand-made executor for tests: tasks run in turns, in any order the test draws.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_lite::future;

use super::random::Random;

/// What a future gives that need not wait.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    future::block_on(future::poll_once(future))
}

/// Tasks by number; a task is polled only after its waker was called.
#[derive(Default)]
pub(crate) struct Turns {
    tasks: Vec<Option<Pin<Box<dyn Future<Output = ()>>>>>,
    woken: Vec<Arc<Flag>>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Turns {
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + 'static) -> usize {
        self.tasks.push(Some(Box::pin(task)));
        self.woken.push(Arc::new(Flag(AtomicBool::new(true))));
        self.tasks.len() - 1
    }

    /// Runs woken tasks, lowest number first, until none is woken.
    pub(crate) fn run(&mut self) {
        while let Some(task) = self.ready().first().copied() {
            self.turn(task);
        }
    }

    /// Gives one woken task, drawn at random, one turn; false where none is woken.
    pub(crate) fn step(&mut self, random: &mut Random) -> bool {
        let ready = self.ready();
        if ready.is_empty() {
            return false;
        }
        self.turn(ready[random.below(ready.len() as u64) as usize]);
        true
    }

    pub(crate) fn cancel(&mut self, task: usize) {
        self.tasks[task] = None;
    }

    pub(crate) fn is_done(&self, task: usize) -> bool {
        self.tasks[task].is_none()
    }

    fn ready(&self) -> Vec<usize> {
        let is_ready = |task: &usize| {
            self.tasks[*task].is_some() && self.woken[*task].0.load(Ordering::Relaxed)
        };
        (0..self.tasks.len()).filter(is_ready).collect()
    }

    fn turn(&mut self, task: usize) {
        self.woken[task].0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.woken[task]));
        let future = self.tasks[task].as_mut().expect("only live tasks get turns");
        if future.as_mut().poll(&mut Context::from_waker(&waker)) == Poll::Ready(()) {
            self.tasks[task] = None;
        }
    }
}
