package formula

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// first are the first numbers of some names, computed independently of this package.
var first = map[string][]float64{
	"encoder.conv_in.weight":            {0.7621637019328773, 0.22199470456689596, 0.7157066236250103},
	"decoder.conv_norm_out.weight":      {-0.5080096391029656, -0.09742484660819173, 0.6507800086401403},
	"quant_conv.bias":                   {0.16223151003941894, -0.41894271271303296, 0.1314546470530331},
	"y_embedder.embedding_table.weight": {-0.47890969878062606, -0.03971093287691474, 0.33586732065305114},
	"input.z":                           {0.6758592864498496, 0.5777631066739559, 0.6658688271418214},
}

func TestFill(t *testing.T) {
	tests := []struct {
		name          string
		shape         []int
		offset, scale float64
	}{
		{"encoder.conv_in.weight", []int{1, 3}, 0, 1},
		{"encoder.conv_in.weight", []int{3, 4, 3, 3}, 0, math.Sqrt(3. / 36)},
		{"decoder.conv_norm_out.weight", []int{3}, 1, 0.1},
		{"quant_conv.bias", []int{3}, 0, 0.1},
		{"y_embedder.embedding_table.weight", []int{3, 1}, 0, 0.5},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.name, tt.shape), func(t *testing.T) {
			n := 1
			for _, d := range tt.shape {
				n *= d
			}
			got := make([]float32, n)
			Fill(tt.name, tt.shape, got)
			for i, u := range first[tt.name] {
				if want := float32(tt.offset + tt.scale*u); got[i] != want {
					t.Errorf("%s %v, element %d: got %v, want %v", tt.name, tt.shape, i, got[i], want)
				}
			}
		})
	}
}

func TestUnit(t *testing.T) {
	got := make([]float32, 3)
	Unit("input.z", got)
	var want []float32
	for _, u := range first["input.z"] {
		want = append(want, float32(u))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("-want +got\n", diff)
	}
	bias := make([]float32, 3)
	Fill("blocks.0.attn.relative_position_bias_table", []int{3, 1}, bias)
	Unit("blocks.0.attn.relative_position_bias_table", got)
	if diff := cmp.Diff(got, bias); diff != "" {
		t.Error("relative position biases: -want +got\n", diff)
	}
}

func TestSource(t *testing.T) {
	var s Source
	s.Add("a.weight", 2, 3)
	s.Add("pos_embed", 1, 2, 2)
	want := make([]float32, 6)
	Fill("a.weight", []int{2, 3}, want)
	got := make([]float32, 6)
	if err := s.Read("a.weight", got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("-want +got\n", diff)
	}
	for name, n := range map[string]int{"b.weight": 6, "a.weight": 5, "pos_embed": 4} {
		if err := s.Read(name, make([]float32, n)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Read(%s) into %d: got error %v, want one that names the tensor", name, n, err)
		}
	}
	s.Positions = func(_ string, _ []int, dst []float32) { dst[3] = 7 }
	pos := make([]float32, 4)
	if err := s.Read("pos_embed", pos); err != nil || pos[3] != 7 {
		t.Errorf("pos_embed: got %v, %v; want what Positions gave", pos, err)
	}
}
