//! Several futures at a time, and what they give in their order.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

/// Futures that are under way, and those that ended before their turn.
pub struct InFlight<'a, T> {
    flights: VecDeque<Flight<'a, T>>,
}

enum Flight<'a, T> {
    UnderWay(Pin<Box<dyn Future<Output = T> + 'a>>),
    Landed(T),
}

impl<T> Default for InFlight<'_, T> {
    fn default() -> Self {
        Self { flights: VecDeque::new() }
    }
}

impl<'a, T> InFlight<'a, T> {
    /// One more, behind the others. It begins with the next [`next`](Self::next).
    pub fn push(&mut self, future: impl Future<Output = T> + 'a) {
        self.flights.push_back(Flight::UnderWay(Box::pin(future)));
    }

    /// How many were not given yet.
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// What the oldest gives; `None` where there is none. All go on meanwhile. Others get their turn after
    /// each that ends, however many have ended together.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn next(&mut self) -> Option<T> {
        self.until(|flights| !matches!(flights.front(), Some(Flight::UnderWay(_)))).await;
        match self.flights.pop_front()? {
            Flight::Landed(given) => Some(given),
            Flight::UnderWay(_) => unreachable!("it was waited for"),
        }
    }

    /// Waits until all have ended.
    ///
    /// # Cancellation
    /// Nothing is lost.
    pub async fn ended(&mut self) {
        self.until(|flights| flights.iter().all(|flight| matches!(flight, Flight::Landed(_))))
            .await;
    }

    async fn until(&mut self, is_enough: impl Fn(&VecDeque<Flight<'a, T>>) -> bool) {
        poll_fn(|context| {
            for flight in &mut self.flights {
                let Flight::UnderWay(future) = flight else { continue };
                if let Poll::Ready(given) = future.as_mut().poll(context) {
                    *flight = Flight::Landed(given);
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
            if is_enough(&self.flights) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn what_ends_early_waits_for_its_turn_and_all_go_on_meanwhile() {
        let (mut flights, gate) = (InFlight::default(), Rc::new(Cell::new(false)));
        let (its_gate, begun) = (Rc::clone(&gate), Rc::new(Cell::new(0)));
        flights.push(poll_fn(move |_| match its_gate.get() {
            true => Poll::Ready(0),
            false => Poll::Pending,
        }));
        for number in 1..4 {
            let begun = Rc::clone(&begun);
            flights.push(async move {
                begun.set(begun.get() + 1);
                number
            });
        }
        for polls in 1..=4 {
            assert!(block_on(poll_once(flights.next())).is_none());
            assert_eq!(begun.get(), polls.min(3), "one has its turn at a time");
        }
        gate.set(true);
        let given: Vec<_> = (0..5).map(|_| block_on(flights.next())).collect();
        assert_eq!(given, [Some(0), Some(1), Some(2), Some(3), None]);
    }
}
