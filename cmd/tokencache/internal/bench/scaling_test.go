package bench

import (
	"context"
	"testing"

	"github.com/tokencache/tokencache/dit"
)

// TestMakespan checks when the last thread is done that takes parts in their order.
func TestMakespan(t *testing.T) {
	for _, test := range []struct {
		threads int
		parts   []float64
		want    float64
	}{
		{1, []float64{1, 2, 3}, 6},
		{2, []float64{1, 1, 1}, 2},
		{2, []float64{3, 1, 1, 1}, 3},
		{2, []float64{1, 1, 3}, 4}, // the long part is taken last
		{8, []float64{1, 2}, 2},
	} {
		if got := makespan(test.threads, test.parts); got != test.want {
			t.Errorf("%v on %d threads take %g, want %g", test.parts, test.threads, got, test.want)
		}
	}
}

// TestScaling checks that one thread has no one to wait for, and that more threads have more than
// they can share out of a small model.
func TestScaling(t *testing.T) {
	c := dit.Config{
		Arch:       dit.ArchDiT,
		InputSize:  8,
		PatchSize:  2,
		InChannels: 1,
		Hidden:     48,
		Depth:      2,
		Heads:      4,
		MLPHidden:  192,
		NumClasses: 10,
	}
	r, err := Scaling(context.Background(), ModelOptions{Network: DiT{c}, Batch: 2}, []int{1, 64})
	if err != nil {
		t.Fatal(err)
	}
	one, many := r.Rows[0], r.Rows[1]
	if one.Balance < 0.999 || many.Balance > 0.9 || many.Barriers == 0 || many.Milliseconds <= 0 || r.WeightBytes == 0 {
		t.Errorf("%+v", r)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := Scaling(ctx, ModelOptions{Network: DiT{c}, Batch: 2}, []int{1}); err == nil {
		t.Error("no error of a context that has ended")
	}
}
