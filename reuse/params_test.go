package reuse_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/reuse"
)

// TestTextOfPolicies checks that a policy's text is read as the policy, unless calibration makes
// it.
func TestTextOfPolicies(t *testing.T) {
	more := []string{"tokencache:importance=random,seed=5", "tokencache:site=whole", "tokencache:steps=list,i=",
		"teacache:coefficients=1e21+-1e-9", "tokencache:ratio=0.5,selection=grid,cell=2"}
	for _, text := range append(more, policies...) {
		if isCalibrated(text) {
			continue
		}
		t.Run(text, func(t *testing.T) {
			p := parse(t, text)
			if again := parse(t, p.String()); again.String() != p.String() || !reflect.DeepEqual(again, p) {
				t.Errorf("%s is read as %s", p, again)
			}
		})
	}
}

// TestTexts checks texts that files and recorded runs depend on.
func TestTexts(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"tokencache", "tokencache:steps=uniform,k=3,warmup=2,ratio=0.25,selection=global,importance=random," +
			"keys=forecast,write-back=false,cached=update,order=2,basis=newton"},
		{"tokencache:steps=tprr,k1=2,k2=4,boundary=0.5,selection=grid,site=body,seed=3,importance=random",
			"tokencache:steps=tprr,k1=2,k2=4,boundary=0.5,warmup=2,ratio=0.25,selection=grid,cell=3," +
				"importance=random,keys=forecast,write-back=false,cached=update,order=2,basis=newton,site=body,seed=3"},
		{"tokencache:ratio=0,steps=list,i=0+3+7", "tokencache:steps=list,i=0+3+7,warmup=2,ratio=0,cached=update,order=2,basis=newton"},
		{"fora", "fora:n=3"},
		{"taylorseer", "taylorseer:n=3,order=1,warmup=2"},
		{"toca", "toca:n=3,ratio=0.25,scheduler=constant,bonus=0.6"},
		{"duca", "duca:n=3,ratio=0.25,scheduler=constant,bonus=0.8"},
		{"fbcache", "fbcache:threshold=0.1,warmup=1,most=0"},
		{"dbcache:max-continuous=4", "dbcache:front=2,back=1,threshold=0.1,warmup=1,most=4"},
		{"teacache", "teacache:threshold=0.15"},
		{"teacache:coefficients=1e21+-0.5,low=0.1,high=2", "teacache:threshold=0.15,coefficients=1e21+-0.5,low=0.1,high=2"},
		{"deltadit", "deltadit:n=3,span=0.5,boundary=0.5"},
		{"tome", "tome:ratio=0.5,mlp=false,seed=0"},
	} {
		t.Run(test.text, func(t *testing.T) {
			if got := parse(t, test.text).String(); got != test.want {
				t.Errorf("%s, want %s", got, test.want)
			}
		})
	}
}

// TestAliases checks the names that other frameworks have for parameters.
func TestAliases(t *testing.T) {
	for _, test := range []struct{ alias, name string }{
		{"dbcache:Fn=3,Bn=0,residual_diff_threshold=0.2", "dbcache:front=3,back=0,threshold=0.2"},
		{"dbcache:Fn_compute_blocks=3,Bn_compute_blocks=0", "dbcache:front=3,back=0"},
		{"fbcache:max_warmup_steps=4,max_continuous_cached_steps=2", "fbcache:warmup=4,most=2"},
		{"fbcache:max-continuous=2", "fbcache:most=2"},
		{"taylorseer:cache_interval=5,max_order=2,disable_cache_before_step=3", "taylorseer:n=5,order=2,warmup=3"},
		{"fora:cache_interval=4", "fora:n=4"},
		{"tokencache:k1=4,write_back=false", "tokencache:k=4,write-back=false"},
	} {
		t.Run(test.alias, func(t *testing.T) {
			if a, b := parse(t, test.alias), parse(t, test.name); !reflect.DeepEqual(a, b) {
				t.Errorf("%s, want %s", a, b)
			}
		})
	}
}

// TestRefusedTexts checks that errors say what is wanted, and name the method once.
func TestRefusedTexts(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"forra", `unknown policy "forra" (did you mean fora?): want one of none, tokencache, fora,`},
		{"", `unknown policy "": want one of none,`},
		{"fora:n", `policy fora: "n": want key=value`},
		{"none:n=1", `policy none: no parameter "n": there are none`},
		{"fora:n=0", "policy fora: n=0: want a whole number, 1 or more"},
		{"fora:n=many", "policy fora: n=many: want a whole number, 1 or more"},
		{"fora:m=1", `policy fora: no parameter "m" (did you mean n?): want n`},
		{"fora:cache_interval=0", "policy fora: cache_interval=0: want a whole number, 1 or more"},
		{"dbcache:treshold=1", `policy dbcache: no parameter "treshold" (did you mean threshold?): ` +
			"want front, back, threshold, warmup or most"},
		{"taylorseer:order=5", "policy taylorseer: order=5: want a whole number, 0 to 4"},
		{"toca:scheduler=ddim", "policy toca: scheduler=ddim: want constant, ddim50 or ddpm250"},
		{"toca:ratio=NaN", "policy toca: ratio=NaN: want a number, 0 to 1"},
		{"fbcache:threshold=-1", "policy fbcache: threshold=-1: want a number, 0 or more"},
		{"fbcache:warmup=0", "warmup=0"},
		{"fbcache:most=-1", "most=-1"},
		{"dbcache:front=0", "front=0"},
		{"dbcache:back=-1", "back=-1"},
		{"dbcache:threshold=x", "threshold=x"},
		{"teacache:threshold=NaN", "threshold=NaN"},
		{"teacache:coefficients=1+2+3+4+5+6", "policy teacache: 6 coefficients: want up to 5, a polynomial of degree 4"},
		{"teacache:coefficients=1+x", `policy teacache: coefficients=1+x: want numbers joined by "+"`},
		{"teacache:coefficients=Inf", "coefficients=Inf"},
		{"teacache:low=3,high=2", "policy teacache: low=3, high=2: want the bounds of a range"},
		{"teacache:n=3", `no parameter "n"`},
		{"deltadit:n=0", "n=0"},
		{"deltadit:span=0", "policy deltadit: span=0: want a number, more than 0 and up to 1"},
		{"deltadit:boundary=2", "boundary=2"},
		{"tome:ratio=0.8", "policy tome: ratio=0.8: want a number, 0 to 0.75"},
		{"tome:mlp=maybe", "policy tome: mlp=maybe: want true or false"},
		{"l2c:threshold=2", "policy l2c: threshold=2: want a number, 0 to 1"},
		{"l2c", "policy l2c: no routers"},
		{"tokencache:ratio=7", "policy tokencache: ratio=7: want a number, 0 to 1"},
		{"tokencache:selection=all", "selection=all: want per-block, global or grid"},
		{"tokencache:selection=grid,cell=5", "cell=5: want a whole number, 1 to 4"},
		{"tokencache:selection=grid,cell=2", "ratio=0.25: selection=grid with cell=2 computes 0.5 of the tokens at least"},
		{"tokencache:steps=some", "steps=some: want uniform, tprr or list"},
		{"tokencache:k=0", "k=0: want a whole number, 1 or more"},
		{"tokencache:steps=tprr", "k2=0: want a whole number, 1 or more"},
		{"tokencache:steps=tprr,k2=2", "boundary=0: want a number, more than 0 and up to 1"},
		{"tokencache:steps=list,i=0+-1", `i=0+-1: want whole numbers joined by "+", 0 or more`},
		{"tokencache:seed=-1", "seed=-1: want a whole number, 0 or more"},
		{"tokencache:importance=norm", "importance=norm: want random, update-norm, static or dynamic"},
		{"tokencache:importance=static", "importance=static needs a trained predictor"},
		{"tokencache:site=branch", "site=branch: want whole or body"},
		{"tokencache:site=body,importance=dynamic", "site=body: want importance random or update-norm"},
		{"tokencache:site=body,learned=true", "site=body: want importance random or update-norm and no learned"},
		{"tokencache:learned=true", "learned=true: want ratio=0 and cached=update"},
		{"tokencache:ratio=0,learned=true", "a learned forecast needs its weights"},
		{"tokencache:half=3", "half steps: want learned=true"},
	} {
		t.Run(test.text, func(t *testing.T) {
			p, err := reuse.Parse(test.text)
			if err == nil {
				t.Fatalf("no error, but %s", p)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want %q", err, test.want)
			}
			if method, _, _ := strings.Cut(test.text, ":"); method != "" && strings.Count(err.Error(), method+":") > 1 {
				t.Errorf("error %q names the method twice", err)
			}
		})
	}
}

// TestMethods checks that every method is described, with a default for each parameter that Parse
// takes.
func TestMethods(t *testing.T) {
	var names []string
	for _, info := range reuse.Methods() {
		names = append(names, info.Name)
		t.Run(info.Name, func(t *testing.T) {
			if info.Summary == "" || info.Kind == "" || info.Granularity == "" && info.Kind != reuse.Uncached {
				t.Errorf("described as %+v", info)
			}
			for _, p := range info.Params {
				if p.Name == "" || p.Help == "" || p.Values == "" {
					t.Errorf("a parameter is described as %+v", p)
				}
			}
			if info.Name == "l2c" {
				return // it needs a file
			}
			// The defaults that are parameters' texts may be given.
			text := info.Name
			for _, p := range info.Params {
				if p.Default != "" && p.Default != "none" {
					text = join(text, p.Name+"="+p.Default)
				}
			}
			if a, b := parse(t, text), parse(t, info.Name); a.String() != b.String() {
				t.Errorf("%s is %s, want %s", text, a, b)
			}
		})
	}
	want := []string{"none", "tokencache", "fora", "taylorseer", "toca", "duca", "fbcache", "dbcache", "teacache",
		"deltadit", "l2c", "tome", "random", "update-norm"}
	if !slices.Equal(names, want) {
		t.Errorf("methods %v, want %v", names, want)
	}
	for _, p := range reuse.Methods()[1].Params {
		if p.Name == "keys" && (p.Default != "forecast" || p.Values != "kept, cached, forecast or fresh") {
			t.Errorf("keys are described as %+v", p)
		}
	}
}
