package comparison

import (
	"context"
	"sync"

	"github.com/tokencache/tokencache"
)

// mostLanes bounds the memory that a cell is drawn in: each lane has its own activations and cache.
const mostLanes = 8

// draw draws the images of a cell from the have-th on, r.Count in the end. It does so in lanes, each with its share of the processors and batches of its own: that is faster than all processors at one batch, and the bits
// are the same. progress is told how many images are drawn. Of an interrupted cell the chunks count that have none missing before them.
func (r *run) draw(ctx context.Context, d *drawn, have int, req tokencache.Request, progress func(drawn float64)) error {
	if err := d.save(); err != nil { // first of all, so that images are never there without what they are of
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lanes := min(r.Pipeline.Threads(), (r.Count-have+r.Batch-1)/r.Batch, mostLanes)
	size := min(chunkImages, max(r.Batch, (r.Count-have+2*lanes-1)/(2*lanes)))
	var (
		mu    sync.Mutex // guards what follows
		next  = have     // the first image that no lane has taken
		drawn float64
		first error
		all   sync.WaitGroup
	)
	take := func() (from, count int) {
		mu.Lock()
		defer mu.Unlock()
		from, count = next, min(size, r.Count-next)
		next += count
		return from, count
	}
	fail := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if first == nil {
			first = err
		}
		cancel()
	}
	keep := func(s tokencache.Stats) error {
		mu.Lock()
		defer mu.Unlock()
		d.Stats = s
		return d.save()
	}
	lane := func() error {
		p := r.Pipeline.Fork(r.Pipeline.Threads() / lanes)
		defer p.Close()
		req := req
		req.OnStep = func(s tokencache.Progress) {
			mu.Lock()
			defer mu.Unlock()
			drawn += float64(s.Batch) / float64(s.Steps)
			progress(drawn)
		}
		for from, count := take(); count > 0; from, count = take() {
			r.choose(&req, from, count)
			result, err := p.Generate(ctx, req)
			if err != nil {
				return err
			}
			if err := d.write(from, result.Images); err != nil {
				return err
			}
			if err := keep(result.Stats); err != nil {
				return err
			}
		}
		return nil
	}
	for range lanes {
		all.Go(func() {
			if err := lane(); err != nil {
				fail(err)
			}
		})
	}
	all.Wait()
	return first
}
