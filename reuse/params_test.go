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
		{"tokencache", "tokencache:steps=uniform,k=3,warmup=2,ratio=0.1,selection=global,at=last,importance=random," +
			"keys=forecast,write-back=false,cached=update,order=2,basis=newton"},
		{"tokencache:steps=tprr,k1=2,k2=4,boundary=0.5,ratio=0.25,selection=grid,at=every,site=body,seed=3,importance=random",
			"tokencache:steps=tprr,k1=2,k2=4,boundary=0.5,warmup=2,ratio=0.25,selection=grid,cell=3," +
				"at=every,importance=random,keys=forecast,write-back=false,cached=update,order=2,basis=newton,site=body,seed=3"},
		{"tokencache:ratio=0,steps=list,i=0+3+7", "tokencache:steps=list,i=0+3+7,warmup=2,ratio=0,cached=update,order=2,basis=newton"},
		{"fora", "fora:n=3"},
		{"taylorseer", "taylorseer:n=3,order=1,warmup=2"},
		{"hicache:first-enhance=2", "hicache:n=3,order=2,warmup=2,sigma=0.5,basis=hermite"},
		{"toca", "toca:n=3,ratio=0.25,scheduler=constant,bonus=0.6"},
		{"cem", "cem:n=3,warmup=1,ratio=0.05,scheduler=ddim50,bonus=0.8"},
		{"cem:i=0+4+9", "cem:i=0+4+9,warmup=1,ratio=0.05,scheduler=ddim50,bonus=0.8"},
		{"clusca", "clusca:n=4,order=4,warmup=2,clusters=16,topk=1,gamma=0.007,seed=0"},
		{"clusca:fresh-threshold=6,max-order=1,first-enhance=3,cluster-num=32,k=2,propagation-ratio=0.01",
			"clusca:n=6,order=1,warmup=3,clusters=32,topk=2,gamma=0.01,seed=0"},
		{"dmd", "dmd:n=5,warmup=4,history=6,feature=output"},
		{"dmd:cache-interval=3,first-enhance=2,dmd-history=5,feature=hidden", "dmd:n=3,warmup=2,history=5,feature=hidden"},
		{"dpcache", "dpcache:n=3,warmup=3,order=2"},
		{"dpcache:i=0+4+9,first=2", "dpcache:i=0+4+9,warmup=2,order=2"},
		{"duca", "duca:n=3,ratio=0.25,scheduler=constant,bonus=0.8"},
		{"fbcache", "fbcache:threshold=0.1,warmup=1,most=0"},
		{"dbcache:max-continuous=4", "dbcache:front=2,back=1,threshold=0.1,warmup=1,most=4"},
		{"dbcache:order=1,halves=joint,warmup-interval=2,max-cached=9",
			"dbcache:front=2,back=1,threshold=0.1,warmup=1,most=0,warmup-interval=2,max-cached=9,order=1,halves=joint"},
		{"speca", "speca:order=4,threshold=0.1,decay=0.01,min=2,max=5,metric=relative-l1,reject=false,halves=joint"},
		{"easycache", "easycache:threshold=0.025,warmup=5,halves=joint"},
		{"fastercache", "fastercache:start=18,n=5,high=45,weight=1.1"},
		{"teacache", "teacache:threshold=0.15"},
		{"teacache:coefficients=1e21+-0.5,low=0.1,high=2", "teacache:threshold=0.15,coefficients=1e21+-0.5,low=0.1,high=2"},
		{"teacache:halves=separate", "teacache:threshold=0.15"},
		{"teacache:halves=joint", "teacache:threshold=0.15,halves=joint"},
		{"seacache", "seacache:threshold=0.15,power=2,warmup=1,filter-forced=true"},
		{"magcache:null-ratios=1+2,ratios=1+0.5",
			"magcache:threshold=0.06,skips=3,retention=0.2,ratios=1+0.5,null-ratios=1+2"},
		{"spectrum", "spectrum:w=1,m=4,lam=0.1,window=2,flex=0.75,warmup=5"},
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

// TestParametersWithoutEffect checks that parameters that others make meaningless are refused, unless
// they say what is so anyway.
func TestParametersWithoutEffect(t *testing.T) {
	for _, test := range []struct{ text, want string }{ // "" for no error
		{"tokencache:k=3,boundary=0.3", "boundary=0.3: it has no effect in tokencache:steps=uniform,k=3,"},
		{"tokencache:k2=4", "k2=4: it has no effect"},
		{"tokencache:steps=list,i=0+3,k=4", "k=4: it has no effect"},
		{"tokencache:i=0+3", "i=0+3: it has no effect"},
		{"tokencache:k=3,k1=4", "k1=4: k=3 is there already"},
		{"tokencache:k=3,k=3", "k=3: k=3 is there already"},
		{"fora:n=2,cache_interval=2", "cache_interval=2: n=2 is there already"},
		{"tokencache:selection=global,cell=3", "cell=3: it has no effect"},
		{"tokencache:selection=grid,cell=3,ratio=0", "selection=grid: it has no effect"},
		{"tokencache:ratio=0,importance=update-norm", "importance=update-norm: it has no effect"},
		{"tokencache:ratio=0,keys=cached", "keys=cached: it has no effect"},
		{"tokencache:ratio=0,write_back=true", "write_back=true: it has no effect"},
		{"tokencache:ratio=0,seed=5", "seed=5: it has no effect"},
		{"tokencache:importance=update-norm,seed=5", "seed=5: it has no effect"},
		{"update-norm:seed=5", "seed=5: it has no effect"},
		{"tokencache:order=1,basis=taylor", "basis=taylor: it has no effect"},
		{"tokencache:order=0,time=logsnr", "time=logsnr: it has no effect"},
		{"taylorseer:order=0,time=logsnr", "time=logsnr: it has no effect"},
		{"dpcache:order=0,time=logsnr", "time=logsnr: it has no effect"},
		{"dpcache:i=0+4,n=4", "n=4: it has no effect in dpcache:i=0+4,"},
		{"hicache:order=0,sigma=0.7", "sigma=0.7: it has no effect"},
		{"spectrum:w=0,m=3", "m=3: it has no effect"},
		{"toca:ratio=0,bonus=0.1", "bonus=0.1: it has no effect"},
		{"duca:ratio=0,scheduler=ddim50", "scheduler=ddim50: it has no effect"},
		{"cem:ratio=0,bonus=0.1", "bonus=0.1: it has no effect"},
		{"teacache:low=0.1", "low=0.1: it has no effect"},

		{"tokencache:ratio=0,order=2,k=2", ""},
		{"tokencache:ratio=0,importance=random,selection=global,seed=0", ""},
		{"tokencache:order=1,basis=newton", ""},
		{"tokencache:order=1,basis=hermite", ""},
		{"tokencache:steps=tprr,k=2,k2=4,boundary=0.5", ""},
		{"update-norm:importance=update-norm", ""},
		{"hicache:n=3,order=0,warmup=2,sigma=0.5,basis=hermite", ""},
	} {
		t.Run(test.text, func(t *testing.T) {
			p, err := reuse.Parse(test.text)
			if test.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := reuse.Parse(p.String()); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
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
		{"dbcache:taylorseer_order=2,max_cached_steps=7", "dbcache:order=2,max-cached=7"},
		{"speca:base_threshold=0.2,decay_rate=0.5,min_taylor_steps=1,max_taylor_steps=6,error_metric=l1",
			"speca:threshold=0.2,decay=0.5,min=1,max=6,metric=l1"},
		{"easycache:thresh=0.05,ret_steps=10", "easycache:threshold=0.05,warmup=10"},
		{"taylorseer:cache_interval=5,max_order=2,disable_cache_before_step=3", "taylorseer:n=5,order=2,warmup=3"},
		{"fora:cache_interval=4", "fora:n=4"},
		{"magcache:K=2,retention_ratio=0.1,mag_ratios=1+0.9", "magcache:skips=2,retention=0.1,ratios=1+0.9"},
		{"magcache:max_skip_steps=2", "magcache:skips=2"},
		{"spectrum:window_size=3,flex_window=3,warmup_steps=2", "spectrum:window=3,flex=3,warmup=2"},
		{"seacache:first_steps=3,filter_forced=false", "seacache:warmup=3,filter-forced=false"},
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
			"want front, back, threshold, warmup, most, warmup-interval, max-cached, order or halves"},
		{"taylorseer:order=5", "policy taylorseer: order=5: want a whole number, 0 to 4"},
		{"toca:scheduler=ddim", "policy toca: scheduler=ddim: want constant, ddim50 or ddpm250"},
		{"clusca:gamma=1.5", "policy clusca: gamma=1.5: want a number, 0 to 1"},
		{"clusca:clusters=0", "policy clusca: clusters=0: want a whole number, 1 or more"},
		{"dmd:history=3", "policy dmd: history=3: want a whole number, 4 to 8"},
		{"toca:ratio=NaN", "policy toca: ratio=NaN: want a number, 0 to 1"},
		{"fbcache:threshold=-1", "policy fbcache: threshold=-1: want a number, 0 or more"},
		{"fbcache:warmup=0", "warmup=0"},
		{"fbcache:most=-1", "most=-1"},
		{"dbcache:front=0", "front=0"},
		{"dbcache:back=-1", "back=-1"},
		{"dbcache:threshold=x", "threshold=x"},
		{"dbcache:order=5", "policy dbcache: order=5: want a whole number, 0 to 4"},
		{"dbcache:warmup-interval=0", "warmup-interval=0"},
		{"dbcache:halves=both", "policy dbcache: halves=both: want separate or joint"},
		{"speca:max=0", "policy speca: max=0: want a whole number, 1 or more"},
		{"speca:decay=0", "policy speca: decay=0: want a number, more than 0"},
		{"speca:metric=cosine", "policy speca: metric=cosine: want relative-l1, l1 or l2"},
		{"easycache:warmup=0", "policy easycache: warmup=0: want a whole number, 1 or more"},
		{"easycache:halves=both", "policy easycache: halves=both: want joint, separate or conditional"},
		{"fastercache:start=1", "policy fastercache: start=1: want a whole number, 2 or more"},
		{"fastercache:n=0", "policy fastercache: n=0: want a whole number, 1 or more"},
		{"teacache:threshold=NaN", "threshold=NaN"},
		{"teacache:coefficients=1+2+3+4+5+6", "policy teacache: 6 coefficients: want up to 5, a polynomial of degree 4"},
		{"teacache:coefficients=1+x", `policy teacache: coefficients=1+x: want numbers joined by "+"`},
		{"teacache:coefficients=Inf", "coefficients=Inf"},
		{"teacache:low=3,high=2", "policy teacache: low=3, high=2: want the bounds of a range"},
		{"teacache:n=3", `no parameter "n"`},
		{"teacache:halves=both", "policy teacache: halves=both: want separate or joint"},
		{"seacache:power=-1", "policy seacache: power=-1: want a number, 0 or more"},
		{"seacache:first-steps=0", "policy seacache: first-steps=0: want a whole number, 1 or more"},
		{"magcache:null-ratios=1+2", "policy magcache: null-ratios without ratios: want both or ratios alone"},
		{"magcache:ratios=1+-1", `policy magcache: ratios=1+-1: want numbers joined by "+", 0 or more`},
		{"magcache:retention=2", "policy magcache: retention=2: want a number, 0 to 1"},
		{"spectrum:lam=0", "policy spectrum: lam=0: want a number, more than 0"},
		{"spectrum:m=9", "policy spectrum: m=9: want a whole number, 0 to 8"},
		{"spectrum:window=0.5", "policy spectrum: window=0.5: want a number, 1 or more"},
		{"hicache:sigma=0", "policy hicache: sigma=0: want a number, more than 0 and up to 1"},
		{"deltadit:n=0", "n=0"},
		{"deltadit:span=0", "policy deltadit: span=0: want a number, more than 0 and up to 1"},
		{"deltadit:boundary=2", "boundary=2"},
		{"dpcache:i=0+4+4", "policy dpcache: i: position 4 after 4: want positions that rise"},
		{"dpcache:i=0+-1", `policy dpcache: i=0+-1: want whole numbers joined by "+", 0 or more`},
		{"dpcache:order=5", "policy dpcache: order=5: want a whole number, 0 to 4"},
		{"cem:ratio=2", "policy cem: ratio=2: want a number, 0 to 1"},
		{"cem:warmup=0", "policy cem: warmup=0: want a whole number, 1 or more"},
		{"tome:ratio=0.8", "policy tome: ratio=0.8: want a number, 0 to 0.75"},
		{"tome:mlp=maybe", "policy tome: mlp=maybe: want true or false"},
		{"l2c:threshold=2", "policy l2c: threshold=2: want a number, 0 to 1"},
		{"l2c", "policy l2c: no routers"},
		{"tokencache:ratio=7", "policy tokencache: ratio=7: want a number, 0 to 1"},
		{"tokencache:selection=all", "selection=all: want per-block, global or grid"},
		{"tokencache:selection=grid,cell=5", "cell=5: want a whole number, 1 to 4"},
		{"tokencache:ratio=0.25,selection=grid,cell=2", "ratio=0.25: selection=grid with cell=2 computes 0.5 of the tokens at least"},
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
		{"tokencache:learned=true,ratio=0,cached=output", "learned=true: want cached=update"},
		{"tokencache:learned=true,importance=update-norm", "want importance=random and write-back=false"},
		{"tokencache:learned=true", "a learned forecast needs its weights"},
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
				grid := p.Name == "cell" // of selection=grid, which is no default
				if p.Default != "" && p.Default != "none" && !grid {
					text = join(text, p.Name+"="+p.Default)
				}
			}
			if a, b := parse(t, text), parse(t, info.Name); a.String() != b.String() {
				t.Errorf("%s is %s, want %s", text, a, b)
			}
		})
	}
	want := []string{"none", "tokencache", "fora", "taylorseer", "hicache", "speca", "toca", "duca", "cem", "clusca", "dpcache", "dmd", "fbcache", "dbcache",
		"teacache", "seacache", "magcache", "spectrum", "easycache", "fastercache", "deltadit", "l2c", "tome",
		"random", "update-norm"}
	if !slices.Equal(names, want) {
		t.Errorf("methods %v, want %v", names, want)
	}
	for _, p := range reuse.Methods()[1].Params {
		if p.Name == "keys" && (p.Default != "forecast" || p.Values != "kept, cached, forecast or fresh") {
			t.Errorf("keys are described as %+v", p)
		}
	}
}
