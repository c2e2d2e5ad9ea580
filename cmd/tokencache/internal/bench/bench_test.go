package bench

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/minit2i"
)

func TestModelCountsWhatItRuns(t *testing.T) {
	c := dit.Config{
		Arch: dit.ArchDiT, InputSize: 8, PatchSize: 2, InChannels: 4, Hidden: 48, Depth: 4, Heads: 4, MLPHidden: 192, NumClasses: 10, LearnSigma: true,
	}
	modelCounts(t, c)
	c.DecodeLayer = 2
	for _, c.Arch = range []dit.Arch{dit.ArchMDTv1, dit.ArchMDTv2} {
		modelCounts(t, c)
	}
}

func modelCounts(t *testing.T, c dit.Config) {
	t.Helper()
	reports, err := Model(context.Background(), ModelOptions{Network: DiT{c}, Batch: 2, Percent: []float64{100, 50}, Threads: 2, Time: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	for i, rows := range []int{16, 8} {
		r := reports[i]
		if got, want := r.GFLOPs*r.Milliseconds*1e6, float64(c.FLOPs(2, rows)); got < 0.999*want || got > 1.001*want {
			t.Errorf("%s, %g%% of the tokens: %g FLOPs, want %g", r.Arch, r.Percent, got, want)
		}
		if (r.Ratio > 0) != (r.Percent < 100) || r.PeakGFLOPs <= 0 {
			t.Errorf("report %+v", r)
		}
	}
}

// TestModelOfText checks the same of text-to-image models, whose text is computed whatever the share:
// one with a text encoder's vectors and one with an embedding of its own.
func TestModelOfText(t *testing.T) {
	c := minit2i.Config{
		ImageSize: 32, PatchSize: 8, Hidden: 64, Heads: 1, Depth: 2, TextDepth: 1, TextWidth: 32, TextTokens: 8, Bottleneck: 32, MLPHidden: 128,
	}
	own := c
	own.Vocabulary, own.TextTokens = 10, 24
	for _, c := range []minit2i.Config{c, own} {
		o := ModelOptions{Network: MiniT2I{c}, Batch: 2, Percent: []float64{100, 50}, Threads: 2, Time: time.Millisecond}
		reports, err := Model(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		all, half := reports[0].GFLOPs*reports[0].Milliseconds*1e6, reports[1].GFLOPs*reports[1].Milliseconds*1e6
		if want := float64(c.FLOPs(2)); all < 0.999*want || all > 1.001*want || half < 0.4*want || half > 0.95*want {
			t.Errorf("%d tokens of text: %g and of half the tokens %g FLOPs, want %g", c.TextTokens, all, half, want)
		}
	}
	if _, err := Model(context.Background(), ModelOptions{Network: MiniT2I{c}, Batch: 2, DiT: true}); err == nil {
		t.Error("a MiniT2I was compared with a DiT of its size")
	}
}

func TestAgainstDiT(t *testing.T) {
	c := dit.Config{
		Arch: dit.ArchMDTv2, InputSize: 8, PatchSize: 2, InChannels: 4, Hidden: 48, Depth: 4, DecodeLayer: 2, Heads: 4, MLPHidden: 192, NumClasses: 10, LearnSigma: true,
	}
	o := ModelOptions{Network: DiT{c}, Batch: 2, Percent: []float64{50, 100}, Threads: 1, Time: time.Millisecond, DiT: true}
	reports, err := Model(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	// Three blocks have a long skip: 32 rows of 96 to 48 features each.
	share := float64(3*2*32*96*48) / float64(c.FLOPs(2, 16))
	for _, r := range reports {
		d := r.DiT
		if d == nil || d.Arch != "DiT with 4 blocks of width 48, patch 2" || d.Milliseconds <= 0 || d.SkipShare != share || math.Abs(d.Apart/d.Ratio-1+share) > 1e-12 {
			t.Errorf("report %+v, want a share of %g", d, share)
		}
	}
	c.Arch = dit.ArchMDTv1
	o.Network = DiT{c}
	if reports, err = Model(context.Background(), o); err != nil || reports[0].DiT.SkipShare != 0 || reports[0].DiT.Apart != reports[0].DiT.Ratio {
		t.Errorf("reports %+v, error %v", reports, err)
	}
	c.Arch, c.DecodeLayer = dit.ArchDiT, 0
	o.Network = DiT{c}
	if _, err = Model(context.Background(), o); err == nil || !strings.Contains(err.Error(), "is no MDT") {
		t.Errorf("error %v for a DiT", err)
	}
}

func TestKernelsReportEveryRow(t *testing.T) {
	before := kernel.Active()
	var told int
	r, err := Kernels(context.Background(), KernelOptions{
		Levels: []kernel.Level{kernel.Active().Level}, Threads: []int{1}, M: []int{8}, Tokens: []int{16, 40}, Time: time.Microsecond, OnRow: func(KernelRow) { told++ },
	})
	if err != nil {
		t.Fatal(err)
	}
	formats := 1 // of attention
	if kernel.AttentionIn(kernel.BF16) != kernel.F32 {
		formats++
	}
	if want := len(kernel.DTypes())*len(Shapes) + 2*formats*len(attentions); len(r.Rows) != want || told != want {
		t.Errorf("%d rows, told of %d, want %d", len(r.Rows), told, want)
	}
	if kernel.Active() != before {
		t.Error("the level in use was not restored")
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var fields struct {
		Peak  float64            `json:"peak_gflops"`
		Peaks map[string]float64 `json:"peaks"`
		Rows  []map[string]any   `json:"rows"`
	}
	if err := json.Unmarshal(b, &fields); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"op", "dtype", "level", "threads", "m", "k", "n", "gflops", "percent_of_peak"} {
		if _, ok := fields.Rows[0][key]; !ok {
			t.Errorf("a row has no %q", key)
		}
	}
	for _, d := range kernel.DTypes() {
		if fields.Peaks[d.String()] <= 0 {
			t.Errorf("no peak of %v", d)
		}
	}
	if fields.Peak != fields.Peaks["f32"] {
		t.Errorf("peak %v, of float32 %v", fields.Peak, fields.Peaks["f32"])
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Kernels(ctx, KernelOptions{Levels: []kernel.Level{kernel.Generic}, Threads: []int{1}, M: []int{8}}); err == nil {
		t.Error("a cancelled measurement gave a report")
	}
}
