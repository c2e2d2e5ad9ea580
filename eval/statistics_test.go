package eval

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/tokencache/tokencache/internal/bounded"
	"github.com/tokencache/tokencache/internal/npz"
)

func TestStatisticsByNumPy(t *testing.T) {
	dir := filepath.Join("..", "internal", "npz", "testdata")
	adm, err := ReadStatistics(filepath.Join(dir, "adm_ref_stats.npz"))
	if err != nil {
		t.Fatal(err)
	}
	fid, err := ReadStatistics(filepath.Join(dir, "pytorch_fid_stats_compressed.npz"))
	if err != nil {
		t.Fatal(err)
	}
	if adm.Spatial == nil || len(adm.Spatial.Mean) != 5 || adm.Network != "" || adm.Pool.N != 0 || fid.Spatial != nil {
		t.Errorf("%+v, %+v", adm, fid)
	}
	if adm.Pool.Mean[1] != 0.0791308581829071 || adm.Pool.Covariance.At(0, 1) != 0.4548970717920784 || adm.Spatial.Covariance.At(1, 0) != 0.0950284466862385 {
		t.Errorf("mean %v, covariance %v", adm.Pool.Mean, mat.Formatted(adm.Pool.Covariance))
	}
	if err := adm.Comparable(fid); err != nil {
		t.Error(err)
	}
	// The same six numbers as float32 and as float64.
	if d, err := adm.Pool.Frechet(&fid.Pool); err != nil || math.Abs(d) > 1e-12 {
		t.Errorf("distance %g, error %v", d, err)
	}
	_, err = ReadStatistics(filepath.Join(dir, "adm_samples_labels.npz"))
	if err == nil || !strings.Contains(err.Error(), "arr_0") {
		t.Errorf("error %v for a file of images, want one that says what is there", err)
	}
}

func TestStatisticsRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.npz")
	normal := func(n int, mean ...float64) Gaussian {
		c := mat.NewSymDense(len(mean), nil)
		for i := range mean {
			c.SetSym(i, i, 2)
			c.SetSym(0, i, 0.5)
		}
		return Gaussian{N: n, Mean: mean, Covariance: c}
	}
	spatial := normal(7, 4, 5)
	s := &Statistics{Network: "a network", Pool: normal(7, 1, 2, 3), Spatial: &spatial}
	if err := WriteStatistics(path, s); err != nil {
		t.Fatal(err)
	}
	got, err := ReadStatistics(path)
	if err != nil {
		t.Fatal(err)
	}
	same := func(a, b *Gaussian) bool {
		return a.N == b.N && slices.Equal(a.Mean, b.Mean) && mat.Equal(a.Covariance, b.Covariance)
	}
	if got.Network != s.Network || !same(&got.Pool, &s.Pool) || !same(got.Spatial, s.Spatial) {
		t.Errorf("%+v, want %+v", got, s)
	}
	for name, other := range map[string]*Statistics{
		"different networks": {Network: "another", Pool: s.Pool},
		"width":              {Pool: spatial},
	} {
		if err := got.Comparable(other); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want %q", err, name)
		}
	}
	if err := got.Comparable(&Statistics{Pool: s.Pool}); err != nil {
		t.Errorf("an unknown network: %v", err)
	}
	s.Pool.Mean[0] = math.NaN()
	if err := WriteStatistics(path, s); err == nil {
		t.Error("no error for a mean that is no number")
	}
}

func TestStatisticsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bad.npz")
	for fails, write := range map[string]func(mu, sigma func([]float64, ...int)){
		"want [2 2]":    func(mu, sigma func([]float64, ...int)) { mu([]float64{1, 2}, 2); sigma([]float64{1}, 1, 1) },
		"want [D]":      func(mu, sigma func([]float64, ...int)) { mu([]float64{1, 2}, 1, 2); sigma([]float64{1}, 1, 1) },
		"D from 1":      func(mu, sigma func([]float64, ...int)) { mu(nil, 0); sigma(nil, 0, 0) },
		"not symmetric": func(mu, sigma func([]float64, ...int)) { mu([]float64{1, 2}, 2); sigma([]float64{1, 0.5, 0, 1}, 2, 2) },
		"not a finite":  func(mu, sigma func([]float64, ...int)) { mu([]float64{math.Inf(1)}, 1); sigma([]float64{1}, 1, 1) },
		"covariance 0":  func(mu, sigma func([]float64, ...int)) { mu([]float64{1}, 1); sigma([]float64{math.NaN()}, 1, 1) },
		"no arrays mu":  func(mu, sigma func([]float64, ...int)) { mu([]float64{1}, 1) },
		"is -1":         func(mu, sigma func([]float64, ...int)) { mu([]float64{1}, 1); sigma([]float64{-1}, 1, 1) },
	} {
		err := npz.Write(path, func(w *npz.Writer) error {
			put := func(name string) func([]float64, ...int) {
				return func(x []float64, shape ...int) {
					if err := npz.Put(w, name, x, shape...); err != nil {
						t.Fatal(err)
					}
				}
			}
			write(put("mu"), put("sigma"))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ReadStatistics(path); err == nil || !strings.Contains(err.Error(), fails) || !strings.Contains(err.Error(), path) {
			t.Errorf("error %v, want %q and the path", err, fails)
		}
	}
}

// FuzzStatistics reads any bytes; what is read must be good for a distance.
func FuzzStatistics(f *testing.F) {
	for _, name := range []string{"adm_ref_stats.npz", "pytorch_fid_stats_compressed.npz"} {
		b, err := os.ReadFile(filepath.Join("..", "internal", "npz", "testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded.Run(t, len(b), func() {
			a, err := npz.NewReader(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				return
			}
			s, err := readStatistics(a)
			if err != nil || len(s.Pool.Mean) > 64 {
				return
			}
			if _, err := s.Pool.Frechet(&s.Pool); err != nil {
				t.Errorf("a distance of what was read: %v", err)
			}
		})
	})
}
