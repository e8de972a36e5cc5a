package storage

import (
	"context"
	"fmt"

	"github.com/meshnode/meshnode/protocol"
)

// rangesPerSplit bounds the ranges of one split, so that a page of splits that
// pack very small files stays a block: 64 splits of 256 ranges of at most 69
// bytes make 1.1 MiB, and about 0.8 MiB as a rule.
const rangesPerSplit = 256

// PlanSplits cuts the files of all inputs, in order, into splits of about size
// bytes: small files are packed together, a large one is cut at multiples of
// size. Where a range ends is not where a record does: see NewSplitReader.
// Empty files contribute nothing; without any content there is one empty
// split. The same inputs and size always give the same table.
func PlanSplits(ctx context.Context, g Getter, p Putter, inputs []protocol.CID, size int64) (table protocol.CID, t protocol.SplitTable, err error) {
	if size < 1 {
		return "", t, fmt.Errorf("splits of %d bytes: the size must be at least 1", size)
	}
	pl := planner{put: p, size: size}
	for _, input := range inputs {
		err := Files(ctx, g, input, func(_ string, file protocol.CID, length int64) error {
			return pl.file(ctx, file, length)
		})
		if err != nil {
			return "", t, err
		}
	}
	if err := pl.finish(ctx); err != nil {
		return "", t, err
	}
	table, _, err = PutDoc(ctx, p, pl.table)
	return table, pl.table, err
}

// planner packs ranges into splits and splits into pages.
type planner struct {
	put   Putter
	size  int64
	table protocol.SplitTable
	page  protocol.SplitPage
	split []protocol.Range
	bytes int64 // of split
	full  bool  // there are too many; only bytes are counted from here on
}

func (pl *planner) file(ctx context.Context, file protocol.CID, length int64) error {
	pl.table.Bytes += length
	if pl.table.Bytes < 0 {
		return malformed("the inputs have sizes beyond all bounds")
	}
	if int64(pl.table.Count)+length/pl.size > protocol.MaxTasks {
		pl.full = true
	}
	for offset := int64(0); offset < length && !pl.full; offset += min(pl.size, length-offset) {
		r := protocol.Range{File: file, Offset: offset, Length: min(pl.size, length-offset), Size: length}
		if err := pl.add(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (pl *planner) add(ctx context.Context, r protocol.Range) error {
	if len(pl.split) > 0 && (pl.bytes+r.Length > pl.size || len(pl.split) == rangesPerSplit) {
		if err := pl.closeSplit(ctx); err != nil {
			return err
		}
	}
	if pl.full {
		return nil
	}
	pl.split = append(pl.split, r)
	pl.bytes += r.Length
	return nil
}

func (pl *planner) closeSplit(ctx context.Context) error {
	if pl.table.Count == protocol.MaxTasks {
		pl.full = true
		return nil
	}
	pl.table.Count++
	pl.page.Splits = append(pl.page.Splits, pl.split)
	pl.split, pl.bytes = nil, 0
	if len(pl.page.Splits) < protocol.SplitsPerPage {
		return nil
	}
	return pl.closePage(ctx)
}

func (pl *planner) closePage(ctx context.Context) error {
	c, _, err := PutDoc(ctx, pl.put, pl.page)
	pl.table.Pages = append(pl.table.Pages, c)
	pl.page = protocol.SplitPage{}
	return err
}

func (pl *planner) finish(ctx context.Context) error {
	if !pl.full && len(pl.split) > 0 && pl.table.Count == protocol.MaxTasks {
		pl.full = true
	}
	if pl.full {
		return fmt.Errorf("%d bytes of input make about %d splits of %d bytes, and a job has at most %d: raise --split to %d or more",
			pl.table.Bytes, max(protocol.MaxTasks+1, (pl.table.Bytes-1)/pl.size+1), pl.size, protocol.MaxTasks, 2*(pl.table.Bytes/protocol.MaxTasks+1))
	}
	if len(pl.split) > 0 || pl.table.Count == 0 {
		if pl.split == nil {
			pl.split = []protocol.Range{}
		}
		if err := pl.closeSplit(ctx); err != nil {
			return err
		}
	}
	if len(pl.page.Splits) > 0 {
		return pl.closePage(ctx)
	}
	return nil
}

// ReadSplit returns the ranges of one split of a table.
func ReadSplit(ctx context.Context, g Getter, table protocol.CID, index int) ([]protocol.Range, error) {
	var t protocol.SplitTable
	if err := GetDoc(ctx, g, table, &t); err != nil {
		return nil, fmt.Errorf("reading split %d: %w", index, err)
	}
	page := index / protocol.SplitsPerPage
	if index < 0 || index >= t.Count || page >= len(t.Pages) {
		return nil, fmt.Errorf("reading split %d of %s: it has %d", index, table, t.Count)
	}
	var splits protocol.SplitPage
	if err := GetDoc(ctx, g, t.Pages[page], &splits); err != nil {
		return nil, fmt.Errorf("reading split %d: %w", index, err)
	}
	if at := index % protocol.SplitsPerPage; at < len(splits.Splits) {
		ranges := splits.Splits[at]
		for _, r := range ranges {
			if !r.File.Defined() || r.Offset < 0 || r.Length < 0 || r.Offset > r.Size || r.Length > r.Size-r.Offset {
				return nil, fmt.Errorf("reading split %d: %w", index, malformed("a range of bytes %d+%d of %d", r.Offset, r.Length, r.Size))
			}
		}
		return ranges, nil
	}
	return nil, fmt.Errorf("reading split %d: %w", index, malformed("its page holds %d", len(splits.Splits)))
}
