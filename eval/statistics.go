package eval

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/tokencache/tokencache/internal/npz"
)

// Statistics are the feature statistics of a set of images, which evaluators keep of a reference.
type Statistics struct {
	Network string // Identity of the network; "" if unknown
	Pool    Gaussian
	Spatial *Gaussian // of the spatial features, for sFID; nil if there are none
}

// The arrays of a file of statistics: the first four as pytorch-fid and the ADM evaluator name
// them, the others this program's own.
const (
	statMean, statCovariance               = "mu", "sigma"
	statSpatialMean, statSpatialCovariance = "mu_s", "sigma_s"
	statNetwork                            = "tokencache_network" // the bytes of the name, u1
	statCount                              = "tokencache_n"
)

const (
	maxStatWidth   = 1 << 14 // features
	maxNetworkName = 1 << 10 // bytes
)

// IsStatistics reports whether the file at path is an .npz of statistics, and not, say, of images.
func IsStatistics(path string) bool {
	a, err := npz.Open(path)
	if err != nil {
		return false
	}
	defer a.Close()
	return hasStatistics(a)
}

// HasImages reports whether the .npz at path holds images, as the ADM evaluator's references do next
// to their statistics.
func HasImages(path string) bool {
	a, err := npz.Open(path)
	if err != nil {
		return false
	}
	defer a.Close()
	return slices.Contains(a.Names(), samplesArray)
}

// samplesArray is the array of images in an .npz of samples.
const samplesArray = "arr_0"

func hasStatistics(a *npz.Archive) bool {
	return slices.Contains(a.Names(), statMean) && slices.Contains(a.Names(), statCovariance)
}

// ReadStatistics reads the .npz at path, as pytorch-fid, the ADM evaluator and WriteStatistics
// write it.
func ReadStatistics(path string) (*Statistics, error) {
	a, err := npz.Open(path)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	s, err := readStatistics(a)
	if err != nil {
		return nil, fmt.Errorf("statistics %s: %w", path, err)
	}
	return s, nil
}

func readStatistics(a *npz.Archive) (*Statistics, error) {
	names := a.Names()
	if !hasStatistics(a) {
		return nil, fmt.Errorf("no arrays %s and %s: the file has %v", statMean, statCovariance, names)
	}
	s := &Statistics{}
	if slices.Contains(names, statCount) {
		n, err := readSmall[int64](a, statCount, 1)
		if err != nil {
			return nil, err
		}
		if len(n) != 1 || n[0] < 2 || n[0] > math.MaxInt32 {
			return nil, fmt.Errorf("array %q: %v images, want one number, at least 2", statCount, n)
		}
		s.Pool.N = int(n[0])
	}
	if slices.Contains(names, statNetwork) {
		name, err := readSmall[uint8](a, statNetwork, maxNetworkName)
		if err != nil {
			return nil, err
		}
		s.Network = string(name)
	}
	pool, err := readGaussian(a, statMean, statCovariance, s.Pool.N)
	if err != nil {
		return nil, err
	}
	s.Pool = *pool
	if !slices.Contains(names, statSpatialMean) && !slices.Contains(names, statSpatialCovariance) {
		return s, nil
	}
	s.Spatial, err = readGaussian(a, statSpatialMean, statSpatialCovariance, s.Pool.N)
	return s, err
}

func readSmall[T npz.Element](a *npz.Archive, name string, limit int) ([]T, error) {
	array, err := a.Array(name)
	if err != nil {
		return nil, err
	}
	if array.Len() > limit {
		return nil, fmt.Errorf("array %q: %d elements, want at most %d", name, array.Len(), limit)
	}
	return npz.Read[T](array)
}

func readGaussian(a *npz.Archive, mean, covariance string, n int) (*Gaussian, error) {
	mu, err := a.Array(mean)
	if err != nil {
		return nil, err
	}
	sigma, err := a.Array(covariance)
	if err != nil {
		return nil, err
	}
	d := mu.Len()
	if len(mu.Shape) != 1 || d < 1 || d > maxStatWidth {
		return nil, fmt.Errorf("array %q: shape %v, want [D] with D from 1 to %d", mean, mu.Shape, maxStatWidth)
	}
	if !slices.Equal(sigma.Shape, []int{d, d}) {
		return nil, fmt.Errorf("array %q: shape %v, want [%d %d] as %s has %d", covariance, sigma.Shape, d, d, mean, d)
	}
	values, err := npz.Read[float64](sigma)
	if err != nil {
		return nil, err
	}
	normal := &Gaussian{N: n, Covariance: mat.NewSymDense(d, nil)}
	if normal.Mean, err = npz.Read[float64](mu); err != nil {
		return nil, err
	}
	for i := range d {
		for j := i; j < d; j++ {
			up, down := values[i*d+j], values[j*d+i]
			if scale := math.Sqrt(math.Abs(values[i*d+i] * values[j*d+j])); math.Abs(up-down) > 1e-3*scale {
				return nil, fmt.Errorf("array %q: not symmetric: %g at %d, %d, %g at %d, %d",
					covariance, up, i, j, down, j, i)
			}
			normal.Covariance.SetSym(i, j, (up+down)/2)
		}
	}
	if err := normal.check(); err != nil {
		return nil, fmt.Errorf("arrays %q and %q: %w", mean, covariance, err)
	}
	return normal, nil
}

// WriteStatistics creates or replaces the .npz at path.
func WriteStatistics(path string, s *Statistics) error {
	if err := s.Pool.check(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if len(s.Network) > maxNetworkName {
		return fmt.Errorf("write %s: a network's name of %d bytes, want at most %d",
			path, len(s.Network), maxNetworkName)
	}
	return npz.Write(path, func(w *npz.Writer) error {
		err := putGaussian(w, statMean, statCovariance, &s.Pool)
		if s.Spatial != nil {
			err = errors.Join(err, putGaussian(w, statSpatialMean, statSpatialCovariance, s.Spatial))
		}
		if s.Network != "" {
			err = errors.Join(err, npz.Put(w, statNetwork, []uint8(s.Network), len(s.Network)))
		}
		if s.Pool.N > 0 {
			err = errors.Join(err, npz.Put(w, statCount, []int64{int64(s.Pool.N)}))
		}
		return err
	})
}

func putGaussian(w *npz.Writer, mean, covariance string, n *Gaussian) error {
	d := len(n.Mean)
	if err := n.check(); err != nil {
		return err
	}
	values := make([]float64, 0, d*d)
	for i := range d {
		for j := range d {
			values = append(values, n.Covariance.At(i, j))
		}
	}
	return errors.Join(npz.Put(w, mean, n.Mean, d), npz.Put(w, covariance, values, d, d))
}

// Comparable returns nil, or why a distance between the two would mean nothing: features of
// different networks are unrelated. An unknown network is assumed to be the other's if the widths
// agree.
func (s *Statistics) Comparable(other *Statistics) error {
	switch {
	case s.Network != "" && other.Network != "" && s.Network != other.Network:
		return fmt.Errorf("features of different networks cannot be compared: %s and %s", s.Network, other.Network)
	case len(s.Pool.Mean) != len(other.Pool.Mean):
		return fmt.Errorf("features of width %d and of width %d cannot be compared: they are of different networks",
			len(s.Pool.Mean), len(other.Pool.Mean))
	}
	return nil
}
