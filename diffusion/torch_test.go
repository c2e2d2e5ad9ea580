package diffusion

import (
	"math"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var torchFiles = []struct {
	dir        string
	arithmetic TorchArithmetic
	tolerance  float64 // on float32 normals of standard deviation 1, 16 or more
}{
	{"avx2", TorchAVX2, 0},
	// Two units in the last place of values up to 4: r, cosine and their product are each rounded
	// once, on either side.
	{"scalar", TorchScalar, 2 * 0x1p-22},
}

// TestTorchGenerator holds every recorded draw of PyTorch's generator, for all seeds.
func TestTorchGenerator(t *testing.T) {
	for _, file := range torchFiles {
		for _, seed := range []uint64{0, 1, 42, 1<<40 + 5} {
			name := path.Join("torch", file.dir, "seed_"+strconv.FormatUint(seed, 10))
			t.Run(name, func(t *testing.T) {
				ref := readTensors(t, name)
				checked := 0
				near := func(key string, got []float32, tolerance float64) {
					t.Helper()
					checked++
					want := ref.f32(key)
					if len(got) != len(want) {
						t.Fatalf("%s: %d values, want %d", key, len(got), len(want))
					}
					for k := range want {
						if d := math.Abs(float64(got[k]) - float64(want[k])); !(d <= tolerance) {
							t.Errorf("%s[%d] = %v, want %v (difference %.3g)", key, k, got[k], want[k], d)
							return
						}
					}
				}
				g := NewTorchGenerator(seed, file.arithmetic)
				draw := func(n int, f func([]float32)) []float32 {
					x := make([]float32, n)
					f(x)
					return x
				}
				ints := func(key string, n int, high int64) {
					t.Helper()
					checked++
					got := make([]int64, n)
					g.RandInt(got, 0, high)
					if diff := cmp.Diff(ref.i64(key), got); diff != "" {
						t.Errorf("%s (-want +got):\n%s", key, diff)
					}
				}
				tolerance := func(n int) float64 {
					if n < 16 {
						return 0
					}
					return file.tolerance
				}

				for key, n := range map[string]int{
					"randn_1": 1, "randn_15": 15, "randn_16": 16, "randn_17": 17, "randn_31": 31, "randn_64": 64, "randn_1000": 1000,
					"randn_2x4x8x8": 512, "randn_4x32x32": 4096, "generator_randn_16": 16,
				} {
					g.ManualSeed(seed)
					near(key, draw(n, g.Randn), tolerance(n))
				}
				g.ManualSeed(seed)
				near("rand_10", draw(10, g.Rand), 0)
				g.ManualSeed(seed)
				ints("randint_0_1000_10", 10, 1000)
				g.ManualSeed(seed)
				near("randn_noncontig_4x5T", transposed(draw(20, func(x []float32) { g.normalSerial(x, 0, 1) }), 5, 4), 0)
				for key, n := range map[string]int{"empty_normal_5": 5, "empty_normal_20": 20} {
					g.ManualSeed(seed)
					near(key, draw(n, func(x []float32) { g.NormalFill(x, 0.5, 2) }), 2*tolerance(n))
				}
				g.ManualSeed(seed)
				near("dit_z_2x4x4x4", draw(128, g.Randn), file.tolerance)
				ints("dit_y_randint_1000_2", 2, 1000)

				for _, sequence := range [][]string{
					{"seqA_0_randn_5", "seqA_1_randn_20", "seqA_2_randn_16"},
					{"seqB_0_randn_5", "seqB_1_randn_20", "seqB_2_randn_3", "seqB_3_rand_4", "seqB_4_randn_1", "seqB_5_randint_7",
						"seqB_6_randn_2", "seqB_7_randn_33", "seqB_8_rand_1"},
				} {
					g.ManualSeed(seed)
					for _, key := range sequence {
						parts := strings.Split(key, "_")
						n, err := strconv.Atoi(parts[3])
						if err != nil {
							t.Fatal(err)
						}
						switch parts[2] {
						case "randn":
							near(key, draw(n, g.Randn), tolerance(n))
						case "rand":
							near(key, draw(n, g.Rand), 0)
						case "randint":
							ints(key, len(ref.i64(key)), 1000)
						}
					}
				}

				for key, f := range map[string]func([]float64){
					"randn_f64_5": g.RandnFloat64, "randn_f64_20": g.RandnFloat64, "rand_f64_6": g.RandFloat64,
				} {
					checked++
					g.ManualSeed(seed)
					want := ref.f64(key)
					got := make([]float64, len(want))
					f(got)
					for k := range want {
						// Logarithm (halved by the root), sine or cosine, product: 4 units in the
						// last place between two libraries.
						if d := math.Abs(got[k] - want[k]); d > 4*0x1p-52*math.Abs(want[k]) || strings.HasPrefix(key, "rand_") && d != 0 {
							t.Errorf("%s[%d] = %v, want %v", key, k, got[k], want[k])
						}
					}
				}

				checked++
				g.ManualSeed(seed)
				for k, want := range ref.i64("mt19937_u32_first_700") {
					if got := int64(g.engine.uint32()) % math.MaxUint32; got != want {
						t.Fatalf("word %d of the engine = %d, want %d", k, got, want)
					}
				}
				if checked != len(ref.where) {
					t.Errorf("%d tensors checked of %d", checked, len(ref.where))
				}
			})
		}
	}
}

// transposed is the [cols, rows] transpose of x [rows, cols].
func transposed(x []float32, rows, cols int) []float32 {
	out := make([]float32, 0, len(x))
	for c := range cols {
		for r := range rows {
			out = append(out, x[r*cols+c])
		}
	}
	return out
}
