package data

import (
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// take returns n elements from k on.
func take(o *Order, k int64, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = o.At(k + int64(i))
	}
	return out
}

func TestOrderLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, seed := rapid.IntRange(1, 200).Draw(t, "n"), rapid.Uint64().Draw(t, "seed")
		first := rapid.Int64Range(0, 1<<40).Draw(t, "epoch") * int64(n)

		epoch := take(NewOrder(n, seed), first, n)
		sorted := slices.Sorted(slices.Values(epoch))
		for i, v := range sorted {
			if v != i {
				t.Fatalf("an epoch is no permutation: %v", epoch)
			}
		}
		// Resuming anywhere gives the same, and so does asking in another order.
		k := rapid.IntRange(0, n-1).Draw(t, "k")
		resumed := NewOrder(n, seed)
		if got := take(resumed, first+int64(k), n-k); !slices.Equal(got, epoch[k:]) {
			t.Fatalf("resumed at %d: %v, want %v", k, got, epoch[k:])
		}
		resumed.At(first + int64(n))
		if got := resumed.At(first + int64(k)); got != epoch[k] {
			t.Fatalf("element %d after the next epoch: %d, want %d", k, got, epoch[k])
		}
	})
}

// TestOrderFixed checks the numbers themselves, since runs that are resumed elsewhere, or by a
// later version, depend on them. They were computed by another program, in Python, from the
// description at Order.shuffle and that of ChaCha8Rand.
func TestOrderFixed(t *testing.T) {
	for _, c := range []struct {
		n     int
		seed  uint64
		first int64
		want  []int
	}{
		{8, 0, 0, []int{6, 7, 5, 3, 4, 2, 1, 0}},
		{8, 0, 8, []int{1, 4, 2, 0, 6, 7, 5, 3}},
		{8, 1, 0, []int{5, 6, 1, 3, 4, 0, 2, 7}},
		{8, 1<<64 - 1, 8_000_000_000, []int{3, 2, 4, 7, 5, 0, 1, 6}},
		{60_000, 7, 180_000, []int{28595, 29959, 33962, 45700}},
		{60_000, 7, 239_996, []int{56230, 59959, 36686, 42709}},
	} {
		if got := take(NewOrder(c.n, c.seed), c.first, len(c.want)); !slices.Equal(got, c.want) {
			t.Errorf("n %d, seed %d, from %d: %v, want %v", c.n, c.seed, c.first, got, c.want)
		}
	}
}

// TestOrderUniform counts where each of 5 images stands: chi-squared of 16 degrees of freedom,
// whose 99.99th percentile is 45.9.
func TestOrderUniform(t *testing.T) {
	const n, epochs = 5, 20_000
	var counts [n][n]float64
	o := NewOrder(n, 42)
	for k := range int64(n * epochs) {
		counts[k%n][o.At(k)]++
	}
	sum := 0.0
	for _, row := range counts {
		for _, c := range row {
			const expected = epochs / n
			sum += (c - expected) * (c - expected) / expected
		}
	}
	if sum > 45.9 {
		t.Errorf("chi-squared %.1f of the places of %d images", sum, n)
	}
}

func TestOrderConcurrent(t *testing.T) {
	o := NewOrder(10, 3)
	want := take(NewOrder(10, 3), 0, 100)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for k, w := range want {
				if got := o.At(int64(k)); got != w {
					t.Errorf("element %d is %d, want %d", k, got, w)
				}
			}
		})
	}
	wg.Wait()
}

func TestOrderMistakes(t *testing.T) {
	for name, f := range map[string]func(){
		"no images": func() { NewOrder(0, 1) }, "before the first": func() { NewOrder(1, 1).At(-1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}
