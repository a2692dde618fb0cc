//! How a journal is written anew into the other file, and the superblock turned to that.

use std::cell::{RefCell, RefMut};

use super::{Journal, State, cannot_be_read, is_kept, superblock, whose};
use crate::storage::{
    Error, Generation, catalog::Catalog, disk::Disk, format::Superblock, pages::Pages,
};

/// Records of the catalog that are written at once during a compaction, in bytes: a block of pages.
const PIECE_BYTES: usize = 60 << 10;

impl Journal {
    /// Writes the catalog into the other file and turns to it. One call at a time, and no
    /// [`commit`](Self::commit) meanwhile. What the catalog names on `data` is made durable before: of a chunk
    /// that was written anew the other file does not say where it lay before.
    ///
    /// # Errors
    /// As of [`commit`](Self::commit); after [`Error::Full`] all is as it was. After [`Error::Io`] the
    /// superblock may name either file, so that neither may be appended to before another compaction.
    pub(in crate::storage) async fn compact(
        &self,
        catalog: &RefCell<Catalog>,
        data: &Disk,
    ) -> Result<(), Error> {
        let mut was = self.superblock.get();
        match self.state.get() {
            State::Shut => return Err(cannot_be_read().into()),
            State::Kept => return Err(is_kept().into()),
            // First, so that there is no page without a superblock that was sound once.
            State::NotBegun => {
                superblock::begin(&self.files.superblock, &was, &self.pool).await?;
                self.state.set(State::Broken);
            }
            // The superblock may name the other file already, which is about to be written over. The
            // copy of the one that failed is taken, so that the older one stays whatever happens.
            State::Broken => {
                was.sequence += 3;
                superblock::write(&self.files.superblock, &was, &self.pool).await?;
                self.superblock.set(was);
            }
            State::Whole => {}
        }
        let now = Superblock {
            sequence: was.sequence + 1,
            journal: 1 - was.journal,
            epoch: Generation::random().0,
            ..was
        };
        *self.next.borrow_mut() = Some(Pages::new(whose(&now), 0));
        let written = self.write_catalog(catalog, data, &now).await;
        let next = self.next.borrow_mut().take();
        if matches!(written, Err(Error::Io(_))) {
            self.break_off();
        }
        let written = written?;
        self.landed.set(written);
        self.durable.set(written);
        *self.current.borrow_mut() = next.expect("only this function takes it");
        self.superblock.set(now);
        self.state.set(State::Whole);
        Ok(())
    }

    /// How much of the file is durable then, in bytes.
    async fn write_catalog(
        &self,
        catalog: &RefCell<Catalog>,
        data: &Disk,
        superblock: &Superblock,
    ) -> Result<u64, Error> {
        let which = usize::from(superblock.journal);
        let mut from = Some(0);
        while let Some(number) = from {
            let (records, more) = catalog.borrow().snapshot(number, PIECE_BYTES);
            if let Some(next) = &mut *self.next.borrow_mut() {
                records.iter().for_each(|record| next.push(record));
            }
            self.write_out(which, || {
                RefMut::filter_map(self.next.borrow_mut(), Option::as_mut).ok()
            })
            .await?;
            from = more;
        }
        let written = self.next.borrow().as_ref().map_or(0, Pages::written);
        // Behind the last record of the catalog: what it named by then is meant.
        data.sync().await?;
        self.files.journals[which].sync().await?;
        superblock::write(&self.files.superblock, superblock, &self.pool).await?;
        Ok(written)
    }
}
