package eval

import (
	"cmp"
	"context"
	"image"
	"math"
	"slices"
	"strings"
	"testing"
)

// TestNearest compares with a sort of all distances, taken in [-1,1].
func TestNearest(t *testing.T) {
	references, ctx := noise(50, 1, 0), context.Background()
	others := noise(1, 2, 20)
	samples := Images{Count: 2, Image: func(i int) (image.Image, error) {
		if i == 0 {
			return references.Image(7)
		}
		return others.Image(0)
	}}
	got, err := Nearest(ctx, samples, references, 3)
	if err != nil {
		t.Fatal(err)
	}
	if got[0][0] != (Neighbour{Index: 7}) {
		t.Errorf("the nearest to a reference is %+v, want itself", got[0][0])
	}
	for s, list := range got {
		sample, _ := samples.Image(s)
		var all []Neighbour
		for i := range references.Count {
			m, _ := references.Image(i)
			sum := 0.0
			for k, v := range m.(*image.Gray).Pix {
				d := float64(v)/127.5 - float64(sample.(*image.Gray).Pix[k])/127.5
				sum += d * d
			}
			all = append(all, Neighbour{i, math.Sqrt(sum / 64)})
		}
		slices.SortFunc(all, func(a, b Neighbour) int { return cmp.Compare(a.Distance, b.Distance) })
		if len(list) != 3 {
			t.Fatalf("%d neighbours", len(list))
		}
		for k, n := range list {
			if n.Index != all[k].Index || math.Abs(n.Distance-all[k].Distance) > 1e-9 {
				t.Errorf("sample %d, neighbour %d: %+v, want %+v", s, k, n, all[k])
			}
		}
	}
	small := Images{Count: 1, Image: func(int) (image.Image, error) { return image.NewGray(image.Rect(0, 0, 7, 8)), nil }}
	if _, err := Nearest(ctx, small, references, 3); err == nil || !strings.Contains(err.Error(), "want equal sizes") {
		t.Errorf("error %v for samples of another size", err)
	}
}
