package eval

import (
	"cmp"
	"math"
	"slices"
)

// Neighbour is a reference picture and how far it is from a sample.
type Neighbour struct {
	Index    int
	Distance float64 // root mean square difference of the pixels, which are in [-1,1]
}

// Nearest returns for each sample the count reference pictures nearest to it in their pixels, the nearest first: what shows whether a model has learnt
// pictures by heart.
func Nearest(samples [][]float32, references, count int, read func(i int, dst []float32) error) ([][]Neighbour, error) {
	nearest := make([][]Neighbour, len(samples))
	if len(samples) == 0 {
		return nearest, nil
	}
	x := make([]float32, len(samples[0]))
	for i := range references {
		if err := read(i, x); err != nil {
			return nil, err
		}
		for s, sample := range samples {
			sum := float32(0)
			for j, v := range sample {
				d := v - x[j]
				sum += d * d
			}
			n := Neighbour{Index: i, Distance: float64(sum)}
			list := nearest[s]
			if len(list) == count && list[count-1].Distance <= n.Distance {
				continue
			}
			at, _ := slices.BinarySearchFunc(list, n, func(a, b Neighbour) int { return cmp.Compare(a.Distance, b.Distance) })
			list = slices.Insert(list, at, n)
			nearest[s] = list[:min(len(list), count)]
		}
	}
	for _, list := range nearest {
		for i := range list {
			list[i].Distance = math.Sqrt(list[i].Distance / float64(len(x)))
		}
	}
	return nearest, nil
}
