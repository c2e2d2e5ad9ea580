package bench

import (
	"sync"
	"testing"
	"time"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/median"
	"github.com/tokencache/tokencache/seam"
	"github.com/tokencache/tokencache/tensor"
)

// BenchmarkSharedBatch compares two processors that share every operation on four samples with the
// two that compute two samples each, in turn: x is how many times as fast the latter are.
func BenchmarkSharedBatch(b *testing.B) {
	for _, arch := range []string{"DiT-S/2", "DiT-B/2", "DiT-XL/2"} {
		b.Run(arch, func(b *testing.B) {
			c, err := dit.Official(arch, 32)
			if err != nil {
				b.Fatal(err)
			}
			m, err := DiT{c}.load(tensor.F32)
			if err != nil {
				b.Fatal(err)
			}
			forward := func(graphs []*tensor.Graph, batches []*seam.Batch) float64 {
				start := time.Now()
				var all sync.WaitGroup
				for i, g := range graphs {
					all.Go(func() {
						g.Reset()
						seam.Forward(g, m, seam.Always, batches[i])
					})
				}
				all.Wait()
				return time.Since(start).Seconds()
			}
			graph := func(workers int) *tensor.Graph {
				pool := tensor.NewPool(workers)
				b.Cleanup(pool.Close)
				return tensor.NewGraph(pool)
			}
			whole, lanes := []*tensor.Graph{graph(2)}, []*tensor.Graph{graph(1), graph(1)}
			four, twos := []*seam.Batch{m.samples(4)}, []*seam.Batch{m.samples(2), m.samples(2)}
			forward(whole, four) // warm up
			forward(lanes, twos)
			b.ResetTimer()
			var together, divided []float64
			for range b.N {
				together = append(together, forward(whole, four))
				divided = append(divided, forward(lanes, twos))
			}
			b.ReportMetric(median.Of(together)/median.Of(divided), "x")
		})
	}
}
