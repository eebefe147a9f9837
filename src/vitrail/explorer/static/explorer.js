// node_modules/preact/dist/preact.mjs
var n;
var t;
var r;
var u;
var i;
var f;
var o;
var e;
var l;
var c;
var a;
var s;
var h = /* @__PURE__ */ Symbol.for("pv");
var p = {};
var y = [];
var v = /^m(i|n|o|s|text|space)$/;
var w = Array.isArray;
var d = y.slice;
var _ = Object.assign;
function g(n3) {
	n3 && n3.parentNode && n3.remove();
}
function k(n3, t4, r4) {
	var u4, i4, f5, o5 = {}, e4 = arguments.length;
	for (f5 in t4) "key" == f5 ? u4 = t4[f5] : "ref" == f5 && "function" != typeof n3 ? i4 = t4[f5] : o5[f5] = t4[f5];
	return e4 > 2 && (o5.children = e4 > 3 ? d.call(arguments, 2) : r4), m(n3, o5, u4, i4, null);
}
function m(r4, u4, i4, f5, o5) {
	var e4 = { type: r4, props: u4, key: i4, ref: f5, __k: null, __: null, __b: 0, __e: null, __c: null, constructor: h, __v: o5 || ++t, __i: -1, __u: 0 };
	return !o5 && n.vnode && n.vnode(e4), e4;
}
function $(n3) {
	return n3.children;
}
function x(n3, t4) {
	this.props = n3, this.context = t4, this.__g = 0;
}
function S(n3, t4) {
	if (null == t4) return n3.__ && S(n3.__, n3.__i + 1);
	for (var r4; t4 < n3.__k.length; t4++) if ((r4 = n3.__k[t4]) && r4.__e) return r4.__e;
	return "function" != typeof n3.type || n3.props.__P ? null : S(n3);
}
function C(t4) {
	var r4, u4 = t4.__v, i4 = u4.__e, f5 = [], o5 = [], e4 = t4.__P;
	e4 && ((r4 = _({ constructor: h }, u4)).__v = u4.__v + 1, n.vnode && n.vnode(r4), z(e4, r4, u4, t4.__n, e4.namespaceURI, 32 & u4.__u ? [i4] : null, f5, i4 || S(u4), 32 & u4.__u, o5), r4.__v = u4.__v, r4.__.__k[r4.__i] = r4, E(f5, r4, o5), u4.__ = u4.__e = null, r4.__e != i4 && j(r4));
}
function j(n3) {
	if ((n3 = n3.__) && n3.__c && !n3.props.__P) return n3.__e = null, n3.__k.some(function(t4) {
		return t4 && (n3.__e = t4.__e);
	}), j(n3);
}
function L(t4) {
	(8 & t4.__g || (t4.__g |= 8, u.push(t4), f++)) && i == n.debounceRendering || ((i = n.debounceRendering) || queueMicrotask)(H);
}
function H() {
	try {
		for (var n3, t4 = 1; u.length; ) u.length > t4 && u.sort(o), n3 = u.shift(), t4 = u.length, 8 & n3.__g && C(n3);
	} finally {
		(f = u.length) && (i || queueMicrotask)(H);
	}
}
function I(n3, t4, r4, u4, i4, f5, o5, e4, l4, c4, a5) {
	var s4, h5, v4, w5, d5, _4, g5 = u4.__k || y, k4 = t4.length;
	for (l4 = q(r4, t4, g5, l4, k4), s4 = 0; s4 < k4; s4++) null != (v4 = r4.__k[s4]) && (h5 = ~v4.__i && g5[v4.__i] || p, v4.__i = s4, _4 = z(n3, v4, h5, i4, f5, o5, e4, l4, c4, a5), w5 = v4.__e, (h5.ref != v4.ref || 8 & h5.__u) && (h5.ref && G(h5.ref, null, v4, h5), v4.ref && a5.push(v4.ref, v4.__c || w5, v4)), d5 = d5 || w5, 4 & v4.__u ? (l4 = A(v4, l4, n3, !h5.__v), h5.__e && (h5.__e = null)) : "function" == typeof v4.type && void 0 !== _4 ? l4 = _4 : w5 && (l4 = w5.nextSibling), v4.__u &= -21);
	return r4.__e = d5, l4;
}
function q(n3, t4, r4, u4, i4) {
	var f5, o5, e4, l4, c4, a5, s4, p5, y5, v4 = r4.length, d5 = v4, _4 = 0, g5 = 0, k4 = n3.__k = Array(i4);
	for (f5 = 0; f5 < i4; f5++) null != (o5 = t4[f5]) && "boolean" != typeof o5 && "function" != typeof o5 ? ("object" != typeof o5 || o5.constructor === String ? o5 = k4[f5] = m(null, o5) : w(o5) ? o5 = k4[f5] = m($, { children: o5 }) : o5.constructor === h && o5.__b ? o5 = k4[f5] = m(o5.type, o5.props, o5.key, o5.ref, o5.__v) : k4[f5] = o5, l4 = f5 + _4, o5.__ = n3, o5.__b = n3.__b + 1, e4 = null, ~(c4 = o5.__i = P(o5, r4, l4, d5)) && (d5--, (e4 = r4[c4]) && (e4.__u |= 2)), e4 && e4.__v ? (o5.__u |= 16, c4 == l4 - 1 ? _4-- : c4 == l4 + 1 ? _4++ : c4 != l4 && (c4 > l4 ? _4-- : _4++, g5 = 1)) : (~c4 || (i4 > v4 ? _4-- : i4 < v4 && _4++), "function" != typeof o5.type && (o5.__u |= 4))) : k4[f5] = null;
	if (g5) {
		for (a5 = [], s4 = [], f5 = 0; f5 < i4; f5++) if ((o5 = k4[f5]) && 16 & o5.__u) {
			for (_4 = 0, p5 = a5.length; _4 < p5; ) a5[y5 = _4 + p5 >> 1] < o5.__i ? _4 = y5 + 1 : p5 = y5;
			a5[_4] = o5.__i, s4[f5] = _4 + 1;
		}
		for (_4 = a5.length; f5--; ) s4[f5] && (s4[f5] == _4 ? _4-- : k4[f5].__u |= 4);
	}
	if (d5) for (f5 = 0; f5 < v4; f5++) !(e4 = r4[f5]) || 2 & e4.__u || (e4.__e == u4 && (u4 = S(e4)), J(e4, e4));
	return u4;
}
function A(n3, t4, r4, u4) {
	var i4, f5, o5, e4;
	if ("function" == typeof n3.type) {
		if (n3.props.__P) return t4;
		if (i4 = n3.__k) for (f5 = 0; f5 < i4.length; f5++) i4[f5] && (i4[f5].__ = n3, t4 = A(i4[f5], t4, r4, false));
		return t4;
	}
	for (t4 && !t4.parentNode && (t4 = S(n3)) && !t4.parentNode && (t4 = null), o5 = n3.__e, e4 = t4; e4 && 8 == e4.nodeType; ) e4 = e4.nextSibling;
	for (o5 != e4 && (!u4 && r4.moveBefore && o5.parentNode ? r4.moveBefore(o5, t4) : r4.insertBefore(o5, t4 || null)), t4 = o5; (t4 = t4 && t4.nextSibling) && 8 == t4.nodeType && !t4.data.startsWith("$s"); ) ;
	return t4;
}
function P(n3, t4, r4, u4) {
	var i4, f5 = n3.key, o5 = n3.type, e4 = t4[r4], l4 = e4 && !(2 & e4.__u);
	if (null === e4 && null == f5 || l4 && f5 == e4.key && o5 == e4.type) return r4;
	if (u4 > (l4 ? 1 : 0)) {
		for (i4 = r4 - 1; i4 >= 0; i4--) if ((e4 = t4[i4]) && !(2 & e4.__u) && f5 == e4.key && o5 == e4.type) return i4;
		for (i4 = r4 + 1; i4 < t4.length; i4++) if ((e4 = t4[i4]) && !(2 & e4.__u) && f5 == e4.key && o5 == e4.type) return i4;
	}
	return -1;
}
function T(n3, t4, r4) {
	null == r4 && (r4 = ""), "-" == t4[0] ? n3.setProperty(t4, r4) : n3[t4] = r4;
}
function N(n3, t4, r4, u4, i4) {
	var f5, o5;
	if ("style" == t4) if ("string" == typeof r4) n3.style.cssText = r4;
	else {
		if ("string" == typeof u4 && (n3.style.cssText = u4 = ""), u4) for (t4 in u4) r4 && t4 in r4 || T(n3.style, t4);
		if (r4) for (t4 in r4) u4 && r4[t4] == u4[t4] || T(n3.style, t4, r4[t4]);
	}
	else if ("o" == t4[0] && "n" == t4[1]) "function" != typeof r4 && (r4 = null), "function" != typeof u4 && (u4 = null), (n3.__e || (n3.__e = {}))[t4] = r4, r4 && u4 || (o5 = a[t4] || (a[t4] = V(t4)), (n3.__a || (n3.__a = {}))[t4] = c, f5 = t4 != (t4 = t4.replace(l, "$1")), (t4 = t4.slice(2))[0] < "a" && (t4 = t4.toLowerCase()), r4 ? n3.addEventListener(t4, o5, f5) : n3.removeEventListener(t4, o5, f5));
	else {
		if ("http://www.w3.org/2000/svg" == i4) t4 = t4.replace(/xlink(H|:h)/, "h").replace(/sName$/, "s");
		else if ("width" != t4 && "height" != t4 && "href" != t4 && "list" != t4 && "form" != t4 && "tabIndex" != t4 && "download" != t4 && "rowSpan" != t4 && "colSpan" != t4 && "role" != t4 && "popover" != t4 && t4 in n3) try {
			return void (n3[t4] = null == r4 ? "" : r4);
		} catch (n4) {
		}
		if ("function" == typeof r4) return;
		null == r4 || false === r4 && "-" != t4[4] ? n3.removeAttribute(t4) : n3.setAttribute(t4, "popover" == t4 && 1 == r4 ? "" : r4);
	}
}
function V(t4) {
	return function(r4) {
		var u4 = this.__e;
		if (u4) {
			if (u4 = u4[t4], null == r4[e]) r4[e] = c++;
			else if (r4[e] < this.__a[t4]) return;
			return u4(n.event ? n.event(r4) : r4);
		}
	};
}
function z(t4, r4, u4, i4, f5, o5, e4, l4, c4, a5) {
	var s4, p5, v4, d5, k4, b4, m5, M2, C4, j3, L2, H2, q2, A5, O2, P2, T4, N2, V2 = r4.type;
	if (r4.constructor !== h) return null;
	128 & u4.__u && (c4 = 32 & u4.__u, s4 = u4.__c.__z) && (r4.__u |= c4, p5 = o5 = [], 8 == s4.nodeType ? l4 = B(s4, o5) : o5.push(s4), l4 = o5[0] || l4), (s4 = n.__b) && s4(r4);
	n: if ("function" == typeof V2) {
		v4 = e4.length;
		try {
			if (M2 = r4.props, C4 = (s4 = V2.prototype) && s4.render, j3 = (s4 = V2.contextType) && i4[s4.__c], L2 = s4 ? j3 ? j3.props.value : s4.__ : i4, (d5 = u4.__c) ? (r4.__c = d5, 2 & d5.__g && (d5.__g |= 1)) : (C4 ? r4.__c = d5 = new V2(M2, L2) : (r4.__c = d5 = new x(M2, L2), d5.constructor = V2, d5.render = K), j3 && j3.sub(d5), d5.state || (d5.state = {}), d5.__n = i4, d5.__g |= 8, d5.__h = [], d5.__k = []), C4 && (d5.__s || (d5.__s = d5.state), V2.getDerivedStateFromProps && (d5.__s == d5.state && (d5.__s = _({}, d5.__s)), _(d5.__s, V2.getDerivedStateFromProps(M2, d5.__s)))), k4 = d5.props, b4 = d5.state, d5.__v = r4, u4.__c) {
				if (M2 !== k4 && C4 && !V2.getDerivedStateFromProps && d5.componentWillReceiveProps && d5.componentWillReceiveProps(M2, L2), r4.__v == u4.__v && !(8 & d5.__g) || !(4 & d5.__g) && d5.shouldComponentUpdate && false === d5.shouldComponentUpdate(M2, d5.__s, L2)) {
					r4.__v != u4.__v && (d5.props = M2, d5.state = d5.__s, d5.__g &= -9), r4.__e = u4.__e, r4.__k = u4.__k, r4.__k.some(function(n3) {
						n3 && (n3.__ = r4);
					}), y.push.apply(d5.__h, d5.__k), d5.__k = [], d5.__h.length && e4.push(d5), l4 = S(u4);
					break n;
				}
				d5.componentWillUpdate && d5.componentWillUpdate(M2, d5.__s, L2), C4 && d5.componentDidUpdate && d5.__h.push(function() {
					d5.componentDidUpdate(k4, b4, m5);
				});
			} else C4 && !V2.getDerivedStateFromProps && d5.componentWillMount && d5.componentWillMount(), C4 && d5.componentDidMount && d5.__h.push(d5.componentDidMount);
			d5.context = L2, d5.props = M2, d5.__P = t4, d5.__g &= -5, H2 = n.__r, q2 = C4 ? 25 : 0;
			do {
				d5.__g &= -9, H2 && H2(r4), s4 = d5.render(d5.props, d5.state = d5.__s, d5.context);
			} while (8 & d5.__g && ++q2 < 25);
			C4 && (y.push.apply(d5.__h, d5.__k), d5.__k = []), d5.state = d5.__s, d5.getChildContext && (i4 = _({}, i4, d5.getChildContext())), C4 && u4.__c && d5.getSnapshotBeforeUpdate && (m5 = d5.getSnapshotBeforeUpdate(k4, b4)), A5 = s4 && s4.type === $ && null == s4.key ? s4.props.children : s4, M2.__P && (s4 = l4, f5 = (t4 = M2.__P).namespaceURI, c4 = o5 = null, u4.props && u4.props.__P != t4 && (u4.__k.some(function(n3) {
				n3 && J(n3, n3);
			}), u4.__k = null), l4 = u4.__k ? S(u4, 0) : null), l4 = I(t4, w(A5) ? A5 : [A5], r4, u4, i4, f5, o5, e4, l4, c4, a5), M2.__P && (r4.__e = null, l4 = s4), r4.__u &= -161, p5 && p5.some(g), d5.__h.length && e4.push(d5), 1 & d5.__g && (d5.__g &= -4);
		} catch (t5) {
			if (e4.length = v4, r4.__v = null, c4 || o5) if (t5 && t5.then) {
				if (r4.__u |= 128 | c4, o5) {
					for (~(T4 = o5.indexOf(l4 || void 0)) || (T4 = o5.length); (N2 = o5[T4 - 1]) && 8 == N2.nodeType; ) T4--;
					for (; T4 < o5.length; T4++) if (N2 = o5[T4]) if (o5[T4] = null, O2) {
						if (N2 == P2) break;
					} else {
						if (8 != N2.nodeType) break;
						N2.data.startsWith("$s") && (P2 = B(O2 = N2));
					}
				}
				if (!O2) {
					for (; l4 && 8 == l4.nodeType && l4.nextSibling; ) l4 = l4.nextSibling;
					O2 = l4;
				}
				(s4 = B(O2 = r4.__c.__z || (r4.__c.__z = O2))) ? (r4.__e = O2, l4 = s4) : r4.__e = l4, l4 = l4 && l4.nextSibling;
			} else o5 && o5.some(g);
			else r4.__e = u4.__e;
			r4.__k || (r4.__k = u4.__k || []), t5 && t5.then || D(r4), n.__e(t5, r4, u4);
		}
	} else l4 = r4.__e = F(u4.__e, r4, u4, i4, f5, o5, e4, c4, a5, t4);
	return (s4 = n.diffed) && s4(r4), l4;
}
function B(n3, t4) {
	if (n3 && 8 == n3.nodeType && n3.data.startsWith("$s")) for (var r4 = 1; n3 = n3.nextSibling; ) {
		if (8 == n3.nodeType) {
			if (n3.data.startsWith("$s")) r4++;
			else if (n3.data.startsWith("/$s") && !--r4) return n3;
		}
		t4 && t4.push(n3);
	}
}
function D(n3) {
	n3 && (n3.__c && (n3.__c.__g |= 4), n3.__k && n3.__k.some(D));
}
function E(t4, r4, u4) {
	for (var i4 = 0; i4 < u4.length; ) G(u4[i4++], u4[i4++], u4[i4++]);
	n.__c && n.__c(r4, t4), t4.some(function(r5) {
		try {
			t4 = r5.__h, r5.__h = [], t4.some(function(n3) {
				n3.call(r5);
			});
		} catch (t5) {
			n.__e(t5, r5.__v);
		}
	});
}
function F(t4, r4, u4, i4, f5, o5, e4, l4, c4, a5) {
	var s4, h5, y5, _4, k4, b4, m5, M2, $2 = u4.props || p, x3 = r4.props, C4 = r4.type;
	if ("svg" == C4 ? f5 = "http://www.w3.org/2000/svg" : "math" == C4 ? f5 = "http://www.w3.org/1998/Math/MathML" : f5 || (f5 = "http://www.w3.org/1999/xhtml"), o5) {
		for (s4 = 0; s4 < o5.length; s4++) if ((k4 = o5[s4]) && (C4 ? k4.localName == C4 : 3 == k4.nodeType)) {
			t4 = k4, o5[s4] = null;
			break;
		}
	}
	if (!t4) {
		if (M2 = a5.ownerDocument || document, !C4) return M2.createTextNode(x3);
		t4 = M2.createElementNS(f5, C4, x3.is ? x3 : a5), l4 && (n.__m && n.__m(r4, o5), l4 = false), o5 = null;
	}
	if (C4) {
		if (a5 = "template" == C4 && t4.content || t4, o5 = "textarea" == C4 && null != x3.defaultValue ? null : o5 && d.call(a5.childNodes), !l4 && o5) for ($2 = {}, s4 = 0; s4 < t4.attributes.length; s4++) $2[(k4 = t4.attributes[s4]).name] = k4.value;
		for (s4 in $2) k4 = $2[s4], "dangerouslySetInnerHTML" == s4 ? y5 = k4 : "children" == s4 || s4 in x3 || "value" == s4 && "defaultValue" in x3 || "checked" == s4 && "defaultChecked" in x3 || N(t4, s4, null, k4, f5);
		for (s4 in x3) k4 = x3[s4], "children" == s4 ? _4 = k4 : "dangerouslySetInnerHTML" == s4 ? h5 = k4 : "value" == s4 ? b4 = k4 : "checked" == s4 ? m5 = k4 : l4 && "function" != typeof k4 || $2[s4] === k4 || N(t4, s4, k4, $2[s4], f5);
		h5 ? (l4 || y5 && (h5.__html == y5.__html || h5.__html == t4.innerHTML) || (t4.innerHTML = h5.__html), r4.__k = []) : (y5 && (t4.textContent = ""), ("foreignObject" == C4 || "http://www.w3.org/1998/Math/MathML" == f5 && v.test(C4)) && (f5 = "http://www.w3.org/1999/xhtml"), I(a5, w(_4) ? _4 : [_4], r4, u4, i4, f5, o5, e4, o5 ? o5[0] : u4.__k && S(u4, 0), l4, c4), o5 && o5.some(g)), l4 && "textarea" != C4 || (s4 = "value", "progress" == C4 && null == b4 ? t4.removeAttribute(s4) : null == b4 || b4 === t4[s4] && ("progress" != C4 || b4) || N(t4, s4, b4, $2[s4], f5), s4 = "checked", null != m5 && m5 != t4[s4] && N(t4, s4, m5, $2[s4], f5));
	} else $2 === x3 || l4 && t4.data == x3 || (t4.data = x3);
	return t4;
}
function G(t4, r4, u4, i4) {
	try {
		"function" == typeof t4 ? r4 ? r4.__x = t4(r4) || 1 : i4 && (i4 = i4.__c || i4.__e) && (r4 = i4.__x) && (i4.__x = null, "function" == typeof r4 ? r4() : t4(null)) : t4.current = r4;
	} catch (t5) {
		n.__e(t5, u4);
	}
}
function J(t4, r4, u4) {
	var i4, f5, o5, e4;
	if (n.unmount && n.unmount(t4), !(i4 = t4.ref) || i4.current && i4.current != t4.__e || G(i4, null, r4, t4), i4 = t4.__c) {
		if (i4.componentWillUnmount) try {
			i4.componentWillUnmount();
		} catch (t5) {
			n.__e(t5, r4);
		}
		i4.__P = i4.__n = null;
	}
	if (i4 = t4.__k) for (e4 = 0; e4 < i4.length; e4++) i4[e4] && J(i4[e4], r4, "function" != typeof t4.type || u4 && !t4.props.__P);
	!u4 && (i4 = t4.__c) && (i4 = i4.__z) && (f5 = B(i4, o5 = [])) && (i4 == t4.__e && o5.some(g), g(f5), g(i4)), u4 || g(t4.__e), t4.__e = t4.__c = t4.__ = null;
}
function K(n3, t4, r4) {
	return this.constructor(n3, r4);
}
function Q(t4, r4) {
	var u4, i4, f5, o5;
	n.__ && n.__(t4, r4), 9 == r4.nodeType && (r4 = r4.documentElement), i4 = (u4 = t4 && 32 & t4.__u) ? null : r4.__k, r4.__k = m($, { children: [t4] }), f5 = [], o5 = [], z(r4, r4.__k, i4 || p, p, r4.namespaceURI, i4 ? null : r4.firstChild ? d.call(r4.childNodes) : null, f5, i4 ? i4.__e : r4.firstChild, u4, o5), E(f5, r4.__k, o5), r4.__k.props.children = null;
}
n = { __e: function(n3, t4, r4, u4) {
	for (var i4, o5, e4; t4 = t4.__; ) if ((i4 = t4.__c) && !(1 & i4.__g)) {
		i4.__g |= 4;
		try {
			if ((e4 = (o5 = i4.constructor) && o5.getDerivedStateFromError) && i4.setState(o5.getDerivedStateFromError(n3)), i4.componentDidCatch && (i4.componentDidCatch(n3, u4 || {}), e4 = 1), e4 && 8 & i4.__g) return void (i4.__g |= 2);
		} catch (t5) {
			n3 = t5;
		}
	}
	throw f = 0, n3;
} }, t = 0, r = function(n3) {
	return null != n3 && n3.constructor === h;
}, x.prototype.setState = function(n3, t4) {
	var r4 = this.__s;
	r4 && r4 != this.state || (r4 = this.__s = _({}, this.state)), "function" == typeof n3 && (n3 = n3(_({}, r4), this.props)), n3 && (_(r4, n3), this.__v && (t4 && this.__k.push(t4), L(this)));
}, x.prototype.forceUpdate = function(n3) {
	this.__v && (this.__g |= 4, n3 && this.__h.push(n3), L(this));
}, x.prototype.render = $, u = [], f = 0, o = function(n3, t4) {
	return n3.__v.__b - t4.__v.__b;
}, e = /* @__PURE__ */ Symbol(), l = /(PointerCapture)$|Capture$/i, c = 0, a = {}, s = 0;

// node_modules/preact/hooks/dist/hooks.mjs
var t2;
var r2;
var u2;
var i2;
var o2 = Object.is;
var f2 = 0;
var c2 = [];
var e2 = [];
var a2 = n;
var v2 = a2.__b;
var l2 = a2.__r;
var m2 = a2.diffed;
var h2 = a2.__c;
var s2 = a2.unmount;
var p2 = a2.__;
function y2(n3, t4) {
	a2.__h && a2.__h(r2, n3, f2 || t4), f2 = 0;
	var u4 = r2.__H || (r2.__H = { __: [], __h: [] });
	return n3 >= u4.__.length && u4.__.push({}), u4.__[n3];
}
function d2(n3) {
	return f2 = 1, _2(G2, n3);
}
function _2(n3, u4, i4) {
	var f5 = y2(t2++, 2);
	if (f5.t = n3, !f5.__c && (f5.__ = [i4 ? i4(u4) : G2(void 0, u4), function(n4) {
		var t4 = (f5.__N || f5.__)[0], r4 = f5.t(t4, n4);
		o2(t4, r4) || (f5.__N = [r4, f5.__[1]], f5.__c.setState({}));
	}], f5.__c = r2, !r2.__f)) {
		r2.__f = true;
		var c4 = r2.shouldComponentUpdate;
		r2.shouldComponentUpdate = function(n4, t4, r4) {
			var u5 = this.__H;
			if (!u5) return true;
			var i5 = false, f6 = this.props != n4;
			if (u5.__.some(function(n5) {
				n5.__N && (i5 = true, o2(n5.__[0], n5.__N[0]) || (f6 = true));
			}), c4) {
				var e4 = c4.call(this, n4, t4, r4);
				return i5 ? e4 || f6 : e4;
			}
			return !i5 || f6;
		};
	}
	return f5.__;
}
function A2(n3, u4) {
	var i4 = y2(t2++, 3);
	!a2.__s && E2(i4.__H, u4) && (i4.__P = true, i4.__ = n3, i4.u = u4, r2.__H.__h.push(i4));
}
function F2(n3, u4) {
	var i4 = y2(t2++, 4);
	!a2.__s && E2(i4.__H, u4) && (i4.__P = false, i4.__ = n3, i4.u = u4, r2.__h.push(i4));
}
function T2(n3) {
	return f2 = 5, w2(function() {
		return { current: n3 };
	}, []);
}
function w2(n3, r4) {
	var u4 = y2(t2++, 7);
	return E2(u4.__H, r4) && (u4.__ = n3(), u4.__H = r4), u4.__;
}
function b(n3, t4) {
	return f2 = 8, w2(function() {
		return n3;
	}, t4);
}
function g2() {
	var n3;
	do {
		for (; n3 = e2.shift(); ) try {
			C2(n3);
		} catch (t5) {
			a2.__e(t5, { __: (n3 = n3.__P) && n3.__v });
		}
		for (; n3 = c2.shift(); ) {
			var t4 = n3.__H;
			if (n3.__P && t4) try {
				t4.__h.some(C2), t4.__h.some(D2), t4.__h = [];
			} catch (r4) {
				t4.__h = [], a2.__e(r4, n3.__v);
			}
		}
	} while (e2.length);
}
a2.__b = function(n3) {
	r2 = null, v2 && v2(n3);
}, a2.__ = function(n3, t4) {
	n3 && t4.__k && t4.__k.__m && (n3.__m = t4.__k.__m), p2 && p2(n3, t4);
}, a2.__r = function(n3) {
	l2 && l2(n3), t2 = 0;
	var i4 = (r2 = n3.__c).__H;
	i4 && (u2 == r2 ? r2.__h = [] : (i4.__h.some(C2), i4.__h.some(D2), t2 = 0), i4.__h = [], i4.__.some(function(n4) {
		n4.__N && (n4.__ = n4.__N), n4.u = n4.__N = void 0;
	})), u2 = r2;
}, a2.diffed = function(n3) {
	m2 && m2(n3);
	var t4 = n3.__c;
	t4 && t4.__H && (t4.__H.__h.length && B2(c2.push(t4)), t4.__H.__.some(function(n4) {
		n4.u && (n4.__H = n4.u);
	})), u2 = r2 = null;
}, a2.__c = function(n3, t4) {
	t4.some(function(n4) {
		try {
			n4.__h.some(C2), n4.__h = n4.__h.filter(function(n5) {
				return !n5.__ || D2(n5);
			});
		} catch (t5) {
			n4.__h = [function() {
				throw t5;
			}];
		}
	}), h2 && h2(n3, t4);
}, a2.unmount = function(n3) {
	s2 && s2(n3);
	var t4, r4, u4 = n3.__c;
	u4 && u4.__H && (u4.__H.__.some(function(u5) {
		try {
			if (u5.__P && u5.__c) {
				if (void 0 === r4) {
					for (r4 = n3.__; r4 && (!r4.__c || !r4.__c.__P); ) r4 = r4.__;
					r4 = r4 && r4.__c;
				}
				u5.__P = r4, B2(e2.push(u5));
			} else C2(u5);
		} catch (n4) {
			t4 = n4;
		}
	}), u4.__H = void 0, t4 && a2.__e(t4, u4.__v));
};
var k2 = "function" == typeof requestAnimationFrame;
function z2(n3) {
	var t4, r4 = function() {
		clearTimeout(u4), k2 && cancelAnimationFrame(t4), setTimeout(n3);
	}, u4 = setTimeout(r4, 35);
	k2 && (t4 = requestAnimationFrame(r4));
}
function B2(n3) {
	1 != n3 && i2 == a2.requestAnimationFrame || ((i2 = a2.requestAnimationFrame) || z2)(g2);
}
function C2(n3) {
	var t4 = r2, u4 = n3.__c;
	"function" == typeof u4 && (n3.__c = void 0, u4()), r2 = t4;
}
function D2(n3) {
	var t4 = r2;
	n3.__c = n3.__(), r2 = t4;
}
function E2(n3, t4) {
	return !n3 || n3.length != t4.length || t4.some(function(t5, r4) {
		return !o2(t5, n3[r4]);
	});
}
function G2(n3, t4) {
	return "function" == typeof t4 ? t4(n3) : t4;
}

// node_modules/@preact/signals-core/dist/signals-core.module.js
var i3 = /* @__PURE__ */ Symbol.for("preact-signals");
function t3() {
	if (!(v3 > 1)) {
		var i4, t4 = false;
		!(function() {
			var i5 = c3;
			c3 = void 0;
			while (void 0 !== i5) {
				var t5 = i5.S;
				if (t5.v === i5.v) {
					for (var r5 = t5.t; void 0 !== r5; r5 = r5.x) if (r5.i === i5.i) r5.i = t5.i;
				}
				i5 = i5.o;
			}
		})();
		while (void 0 !== h3) {
			var r4 = h3;
			h3 = void 0;
			s3++;
			while (void 0 !== r4) {
				var n3 = r4.u;
				r4.u = void 0;
				r4.f &= -3;
				if (!(8 & r4.f) && w3(r4)) try {
					r4.c();
				} catch (r5) {
					if (!t4) {
						i4 = r5;
						t4 = true;
					}
				}
				r4 = n3;
			}
		}
		s3 = 0;
		v3--;
		if (t4) throw i4;
	} else v3--;
}
function r3(i4) {
	if (v3 > 0) return i4();
	u3 = ++e3;
	v3++;
	try {
		return i4();
	} finally {
		t3();
	}
}
var n2;
var o3 = void 0;
function f3(i4) {
	var t4 = o3, r4 = n2;
	o3 = void 0;
	n2 = void 0;
	try {
		return i4();
	} finally {
		o3 = t4;
		n2 = r4;
	}
}
var h3 = void 0;
var v3 = 0;
var s3 = 0;
var e3 = 0;
var u3 = 0;
var c3 = void 0;
var a3 = 0;
function d3(i4) {
	if (void 0 !== o3) {
		var t4 = i4.n;
		if (void 0 === t4 || t4.t !== o3) {
			t4 = { i: 0, S: i4, p: o3.s, n: void 0, t: o3, e: void 0, x: void 0, r: t4 };
			if (void 0 !== o3.s) o3.s.n = t4;
			o3.s = t4;
			i4.n = t4;
			if (32 & o3.f) i4.S(t4);
			return t4;
		} else if (-1 === t4.i) {
			t4.i = 0;
			if (void 0 !== t4.n) {
				t4.n.p = t4.p;
				if (void 0 !== t4.p) t4.p.n = t4.n;
				t4.p = o3.s;
				t4.n = void 0;
				o3.s.n = t4;
				o3.s = t4;
			}
			return t4;
		}
	}
}
function l3(i4, t4) {
	this.v = i4;
	this.i = 0;
	this.n = void 0;
	this.t = void 0;
	this.l = 0;
	this.W = null == t4 ? void 0 : t4.watched;
	this.Z = null == t4 ? void 0 : t4.unwatched;
	this.name = null == t4 ? void 0 : t4.name;
}
l3.prototype.brand = i3;
l3.prototype.h = function() {
	return true;
};
l3.prototype.S = function(i4) {
	var t4 = this, r4 = this.t;
	if (r4 !== i4 && void 0 === i4.e) {
		i4.x = r4;
		this.t = i4;
		if (void 0 !== r4) r4.e = i4;
		else f3(function() {
			var i5;
			null == (i5 = t4.W) || i5.call(t4);
		});
	}
};
l3.prototype.U = function(i4) {
	var t4 = this;
	if (void 0 !== this.t) {
		var r4 = i4.e, n3 = i4.x;
		if (void 0 !== r4) {
			r4.x = n3;
			i4.e = void 0;
		}
		if (void 0 !== n3) {
			n3.e = r4;
			i4.x = void 0;
		}
		if (i4 === this.t) {
			this.t = n3;
			if (void 0 === n3) f3(function() {
				var i5;
				null == (i5 = t4.Z) || i5.call(t4);
			});
		}
	}
};
l3.prototype.subscribe = function(i4) {
	var t4 = this;
	return x2(function() {
		var r4 = t4.value;
		f3(function() {
			return i4(r4);
		});
	}, { name: "sub" });
};
l3.prototype.valueOf = function() {
	return this.value;
};
l3.prototype.toString = function() {
	return this.value + "";
};
l3.prototype.toJSON = function() {
	return this.value;
};
l3.prototype.peek = function() {
	var i4 = this;
	return f3(function() {
		return i4.value;
	});
};
Object.defineProperty(l3.prototype, "value", { get: function() {
	var i4 = d3(this);
	if (void 0 !== i4) i4.i = this.i;
	return this.v;
}, set: function(i4) {
	if (i4 !== this.v) {
		if (s3 > 100) throw new Error("Cycle detected");
		!(function(i5) {
			if (0 !== v3 && 0 === s3) {
				if (i5.l !== u3) {
					i5.l = u3;
					c3 = { S: i5, v: i5.v, i: i5.i, o: c3 };
				}
			}
		})(this);
		this.v = i4;
		this.i++;
		a3++;
		v3++;
		try {
			for (var r4 = this.t; void 0 !== r4; r4 = r4.x) r4.t.N();
		} finally {
			t3();
		}
	}
} });
function y3(i4, t4) {
	return new l3(i4, t4);
}
function w3(i4) {
	for (var t4 = i4.s; void 0 !== t4; t4 = t4.n) if (t4.S.i !== t4.i || !t4.S.h() || t4.S.i !== t4.i) return true;
	return false;
}
function b2(i4) {
	for (var t4 = i4.s; void 0 !== t4; t4 = t4.n) {
		var r4 = t4.S.n;
		if (void 0 !== r4) t4.r = r4;
		t4.S.n = t4;
		t4.i = -1;
		if (void 0 === t4.n) {
			i4.s = t4;
			break;
		}
	}
}
function _3(i4) {
	var t4 = i4.s, r4 = void 0;
	while (void 0 !== t4) {
		var n3 = t4.p;
		if (-1 === t4.i) {
			t4.S.U(t4);
			if (void 0 !== n3) n3.n = t4.n;
			if (void 0 !== t4.n) t4.n.p = n3;
		} else r4 = t4;
		t4.S.n = t4.r;
		if (void 0 !== t4.r) t4.r = void 0;
		t4 = n3;
	}
	i4.s = r4;
}
function j2(i4, t4) {
	l3.call(this, void 0, t4);
	this.x = i4;
	this.s = void 0;
	this.g = a3 - 1;
	this.f = 4;
}
j2.prototype = new l3();
j2.prototype.h = function() {
	this.f &= -3;
	if (1 & this.f) return false;
	if (32 == (36 & this.f)) return true;
	this.f &= -5;
	if (this.g === a3) return true;
	this.g = a3;
	this.f |= 1;
	if (this.i > 0 && !w3(this)) {
		this.f &= -2;
		return true;
	}
	var i4 = o3;
	try {
		b2(this);
		o3 = this;
		var t4 = this.x();
		if (16 & this.f || this.v !== t4 || 0 === this.i) {
			this.v = t4;
			this.f &= -17;
			this.i++;
		}
	} catch (i5) {
		this.v = i5;
		this.f |= 16;
		this.i++;
	}
	o3 = i4;
	_3(this);
	this.f &= -2;
	return true;
};
j2.prototype.S = function(i4) {
	if (void 0 === this.t) {
		this.f |= 36;
		for (var t4 = this.s; void 0 !== t4; t4 = t4.n) t4.S.S(t4);
	}
	l3.prototype.S.call(this, i4);
};
j2.prototype.U = function(i4) {
	if (void 0 !== this.t) {
		l3.prototype.U.call(this, i4);
		if (void 0 === this.t) {
			this.f &= -33;
			for (var t4 = this.s; void 0 !== t4; t4 = t4.n) t4.S.U(t4);
		}
	}
};
j2.prototype.N = function() {
	if (!(2 & this.f)) {
		this.f |= 6;
		for (var i4 = this.t; void 0 !== i4; i4 = i4.x) i4.t.N();
	}
};
Object.defineProperty(j2.prototype, "value", { get: function() {
	if (1 & this.f) throw new Error("Cycle detected");
	var i4 = d3(this);
	this.h();
	if (void 0 !== i4) i4.i = this.i;
	if (16 & this.f) throw this.v;
	return this.v;
} });
function O(i4, t4) {
	return new j2(i4, t4);
}
function p3(i4) {
	var r4 = i4.j;
	i4.j = void 0;
	if ("function" == typeof r4) {
		v3++;
		var n3 = o3;
		o3 = void 0;
		try {
			r4();
		} catch (t4) {
			i4.f &= -2;
			i4.f |= 8;
			g3(i4);
			throw t4;
		} finally {
			o3 = n3;
			t3();
		}
	}
}
function g3(i4) {
	for (var t4 = i4.s; void 0 !== t4; t4 = t4.n) t4.S.U(t4);
	i4.x = void 0;
	i4.s = void 0;
	p3(i4);
}
function S2(i4) {
	if (o3 !== this) throw new Error("Out-of-order effect");
	_3(this);
	o3 = i4;
	this.f &= -2;
	try {
		if (8 & this.f) g3(this);
	} finally {
		t3();
	}
}
function m3(i4, t4) {
	this.x = i4;
	this.j = void 0;
	this.s = void 0;
	this.u = void 0;
	this.f = 32;
	this.name = null == t4 ? void 0 : t4.name;
	if (n2) n2.push(this);
}
m3.prototype.c = function() {
	var i4 = this.S();
	try {
		if (8 & this.f) return;
		if (void 0 === this.x) return;
		var t4 = this.x();
		if ("function" == typeof t4) this.j = t4;
	} finally {
		i4();
	}
};
m3.prototype.S = function() {
	if (1 & this.f) throw new Error("Cycle detected");
	this.f |= 1;
	this.f &= -9;
	p3(this);
	b2(this);
	v3++;
	var i4 = o3;
	o3 = this;
	return S2.bind(this, i4);
};
m3.prototype.N = function() {
	if (!(2 & this.f)) {
		this.f |= 2;
		this.u = h3;
		h3 = this;
	}
};
m3.prototype.d = function() {
	this.f |= 8;
	if (!(1 & this.f)) g3(this);
};
m3.prototype.dispose = function() {
	this.d();
};
function x2(i4, t4) {
	var r4 = new m3(i4, t4);
	try {
		r4.c();
	} catch (i5) {
		r4.d();
		throw i5;
	}
	var n3 = r4.d.bind(r4);
	n3[Symbol.dispose] = n3;
	return n3;
}

// node_modules/@preact/signals/dist/signals.module.js
var h4;
var d4;
var p4;
var m4 = "undefined" != typeof window && !!window.__PREACT_SIGNALS_DEVTOOLS__;
var g4 = [];
x2(function() {
	h4 = this.N;
})();
function b3(i4, n3) {
	n[i4] = n3.bind(null, n[i4] || function() {
	});
}
function y4(i4) {
	if (p4) {
		var n3 = p4;
		p4 = void 0;
		n3();
	}
	p4 = i4 && i4.S();
}
function w4(i4) {
	var n3 = this, r4 = i4.data, t4 = useSignal(r4);
	t4.name = "ReactiveDom";
	t4.value = r4;
	var e4 = w2(function() {
		var i5 = n3, r5 = n3.__v;
		while (r5 = r5.__) if (r5.__c) {
			r5.__c.__$f |= 4;
			break;
		}
		var o5 = O(function() {
			var i6 = t4.value.value;
			return 0 === i6 ? 0 : true === i6 ? "" : i6 || "";
		}), e6 = O(function() {
			return !Array.isArray(o5.value) && !r(o5.value);
		}), u5 = x2(function() {
			this.N = M;
			if (e6.value) {
				var n4 = o5.value;
				if (i5.__v && i5.__v.__e && 3 === i5.__v.__e.nodeType) i5.__v.__e.data = n4;
			}
		}), c5 = n3.__$u.d;
		n3.__$u.d = function() {
			u5();
			c5.call(this);
		};
		return [e6, o5];
	}, []), u4 = e4[0], c4 = e4[1];
	return u4.value ? c4.peek() : c4.value;
}
w4.displayName = "ReactiveTextNode";
Object.defineProperties(l3.prototype, { constructor: { configurable: true, value: k($, null).constructor }, type: { configurable: true, value: w4 }, props: { configurable: true, get: function() {
	var i4 = this;
	return { data: { get value() {
		return i4.value;
	} } };
} }, __b: { configurable: true, value: 1 } });
b3("__b", function(i4, n3) {
	y4();
	d4 = void 0;
	if ("string" == typeof n3.type) {
		var r4, t4 = n3.props;
		for (var f5 in t4) if ("children" !== f5) {
			var o5 = t4[f5];
			if (o5 instanceof l3) {
				if (!r4) n3.__np = r4 = {};
				r4[f5] = o5;
				t4[f5] = o5.peek();
			}
		}
	}
	i4(n3);
});
b3("__r", function(i4, r4) {
	i4(r4);
	if (r4.type !== $) {
		y4();
		var t4, f5 = r4.__c;
		if (f5) {
			f5.__$f &= -2;
			if (void 0 === (t4 = f5.__$u)) f5.__$u = t4 = (function(i5, n3) {
				var r5;
				x2(function() {
					r5 = this;
				}, { name: n3 });
				r5.c = i5;
				return r5;
			})(/* @__PURE__ */ (function(i5) {
				return function() {
					var n3;
					if (m4) null == (n3 = this.y) || n3.call(this);
					i5.__$f |= 1;
					i5.setState({});
				};
			})(f5), "function" == typeof r4.type ? r4.type.displayName || r4.type.name : "");
		}
		d4 = f5;
		y4(t4);
	}
});
b3("__e", function(i4, n3, r4, t4) {
	y4();
	d4 = void 0;
	i4(n3, r4, t4);
});
b3("diffed", function(i4, n3) {
	y4();
	d4 = void 0;
	var r4;
	if ("string" == typeof n3.type && (r4 = n3.__e)) {
		var t4 = n3.__np, f5 = n3.props, o5 = r4.U;
		if (o5) for (var e4 in o5) {
			var u4 = o5[e4];
			if (!(void 0 === u4 || t4 && e4 in t4)) {
				u4.d();
				o5[e4] = void 0;
			}
		}
		if (t4) {
			if (!o5) {
				o5 = {};
				r4.U = o5;
			}
			for (var a5 in t4) {
				var c4 = o5[a5], v4 = t4[a5];
				if (void 0 === c4) {
					c4 = k3(r4, a5, v4, f5);
					o5[a5] = c4;
				} else c4.o(v4, f5);
			}
		}
	}
	i4(n3);
});
function k3(i4, n3, r4, t4) {
	var f5 = n3 in i4 && void 0 === i4.ownerSVGElement, o5 = y3(r4);
	return { o: function(i5, n4) {
		o5.value = i5;
		t4 = n4;
	}, d: x2(function() {
		this.N = M;
		var r5 = o5.value.value;
		if (t4[n3] !== r5) {
			t4[n3] = r5;
			if (f5) i4[n3] = r5;
			else if (null != r5 && (false !== r5 || "-" === n3[4])) i4.setAttribute(n3, r5);
			else i4.removeAttribute(n3);
		}
	}) };
}
b3("unmount", function(i4, n3) {
	if ("string" == typeof n3.type) {
		var r4 = n3.__e;
		if (r4) {
			var t4 = r4.U;
			if (t4) {
				r4.U = void 0;
				for (var f5 in t4) {
					var o5 = t4[f5];
					if (o5) o5.d();
				}
			}
		}
		var e4 = n3.__np;
		if (e4) {
			var u4 = n3.props;
			for (var a5 in e4) u4[a5] = e4[a5];
		}
		n3.__np = void 0;
	} else {
		var c4 = n3.__c;
		if (c4) {
			c4.__$f |= 8;
			var v4 = c4.__$u;
			if (v4) {
				c4.__$u = void 0;
				v4.d();
			}
		}
	}
	i4(n3);
});
b3("__h", function(i4, n3, r4, t4) {
	if (t4 < 3) n3.__$f |= 2;
	i4(n3, r4, t4);
});
x.prototype.shouldComponentUpdate = function(i4, n3) {
	if (this.__R) return true;
	var r4 = this.__$u, t4 = r4 && void 0 !== r4.s;
	for (var f5 in n3) return true;
	if (this.__f || "boolean" == typeof this.u && true === this.u) {
		var o5 = 2 & this.__$f;
		if (!(t4 || o5 || 4 & this.__$f)) return true;
		if (1 & this.__$f) return true;
	} else {
		if (!(t4 || 4 & this.__$f)) return true;
		if (3 & this.__$f) return true;
	}
	for (var e4 in i4) if ("__source" !== e4 && i4[e4] !== this.props[e4]) return true;
	for (var u4 in this.props) if (!(u4 in i4)) return true;
	return false;
};
function useSignal(i4, n3) {
	return w2(function() {
		return y3(i4, n3);
	}, []);
}
var A3 = function(i4) {
	queueMicrotask(function() {
		queueMicrotask(i4);
	});
};
function F3() {
	r3(function() {
		var i4;
		while (i4 = g4.shift()) h4.call(i4);
	});
}
function M() {
	if (1 === g4.push(this)) (n.requestAnimationFrame || A3)(F3);
}

// src/mask.ts
async function loadMask(trace) {
	const { mask: mask2, certainty } = trace.manifest.outcome;
	const [labels, sure] = await Promise.all([trace.array(mask2), trace.array(certainty)]);
	const [height, width] = labels.shape;
	return { height, width, labels: labels.data, certainty: sure.data };
}
function classAt(trace, mask2, [y5, x3]) {
	const cell2 = y5 * mask2.width + x3;
	const cls = mask2.labels[cell2];
	return { cls, label: trace.manifest.outcome.classes[cls]?.label ?? `class ${cls}`, certainty: mask2.certainty[cell2] / 255 };
}
var colours = (trace) => trace.manifest.outcome.classes.map(({ colour: colour2 }) => [1, 3, 5].map((at) => parseInt(colour2.slice(at, at + 2), 16)));
function pixelsOf({ height, width, labels }, table2, background) {
	const canvas2 = document.createElement("canvas");
	[canvas2.width, canvas2.height] = [width, height];
	const pen2 = canvas2.getContext("2d");
	const pixels2 = pen2.createImageData(width, height);
	labels.forEach((cls, cell2) => {
		if (cls > 0 || !background) pixels2.data.set([...table2[cls], 255], 4 * cell2);
	});
	pen2.putImageData(pixels2, 0, 0);
	return canvas2;
}
function mostOf({ manifest: { outcome: { classes, background } } }) {
	const things = classes.filter(({ class: id, share: share2 }) => share2 > 0 && (id > 0 || !background));
	return things.reduce((best, row) => row.share > best.share ? row : best, things[0] ?? { class: 0, share: 0 }).class;
}

// src/state.ts
var SORTS = ["index", "distance", "entropy"];
var tokens = (block) => block.prefix + block.spatial[0] * block.spatial[1];
function placeOf(block, token, input) {
	const at = token - block.prefix;
	const [y5, x3] = [Math.floor(at / block.spatial[1]), at % block.spatial[1]];
	return [(y5 + 0.5) * block.stride[0] / input[0], (x3 + 0.5) * block.stride[1] / input[1]];
}
function tokenAt(block, place, input) {
	const [y5, x3] = place.map((p5, axis) => Math.min(block.spatial[axis] - 1, Math.max(0, Math.floor(p5 * input[axis] / block.stride[axis]))));
	return block.prefix + y5 * block.spatial[1] + x3;
}
function defaults(trace) {
	const { blocks, photo: photo3, answer: answer4, methods, outcome: outcome2 } = trace.manifest;
	const [view, block] = outcome2.kind === "class" ? ["canvas", 0] : ["outcome", blocks.length - 1];
	return {
		view,
		block,
		head: -1,
		token: tokenAt(blocks[block], [0.46, 0.46], photo3.input),
		cls: answer4[0]?.class ?? mostOf(trace),
		method: methods[0]?.id ?? "",
		shift: 0,
		step: 0,
		side: "A",
		sort: "index",
		size: Math.max(...photo3.input),
		window: blocks.find((block2) => block2.cut)?.cut?.window[0] ?? 7,
		metric: "flops"
	};
}
function parse(hash, now, traces) {
	const given2 = new URLSearchParams(hash.replace(/^#/, ""));
	const next = { ...now };
	const whole = (name2, below) => {
		const text = given2.get(name2);
		return text !== null && /^\d{1,9}$/.test(text) && Number(text) < below ? Number(text) : null;
	};
	if (given2.get("side") === "B" && traces.length > 1) next.side = "B";
	else if (given2.has("side")) next.side = "A";
	const { blocks, model, methods } = traces[next.side === "B" ? 1 : 0].manifest;
	const block = whole("block", blocks.length);
	if (block !== null && block !== next.block) {
		next.block = block;
		next.token = moved(traces[next.side === "B" ? 1 : 0], now, block);
	}
	next.block = Math.min(next.block, blocks.length - 1);
	const facts = blocks[next.block];
	next.token = whole("token", tokens(facts)) ?? Math.min(next.token, tokens(facts) - 1);
	next.head = given2.get("head") === "mean" ? -1 : whole("head", facts.heads) ?? Math.min(next.head, facts.heads - 1);
	next.cls = whole("class", Math.max(1, model.classes)) ?? next.cls;
	if (methods.some(({ id }) => id === given2.get("method"))) next.method = given2.get("method");
	const shift = Number(given2.get("shift") ?? NaN);
	if (shift >= 0 && shift <= 1) next.shift = shift;
	next.step = given2.get("step") === "off" ? -1 : whole("step", 99) ?? next.step;
	const sort = SORTS.find((name2) => name2 === given2.get("sort"));
	if (sort) next.sort = sort;
	next.size = whole("size", 1e5) ?? next.size;
	next.window = whole("window", 1e3) ?? next.window;
	if (/^[a-z]+$/.test(given2.get("metric") ?? "")) next.metric = given2.get("metric");
	if (/^[a-z]+$/.test(given2.get("view") ?? "")) next.view = given2.get("view");
	return next;
}
function write(state, traces, place = {}) {
	const words = {
		...place,
		view: state.view,
		block: String(state.block),
		token: String(state.token),
		head: state.head < 0 ? "mean" : String(state.head),
		class: String(state.cls),
		method: state.method,
		shift: String(Math.round(state.shift * 1e3) / 1e3),
		step: state.step < 0 ? "off" : String(state.step),
		sort: state.sort,
		size: String(state.size),
		window: String(state.window),
		metric: state.metric
	};
	if (traces > 1) words.side = state.side;
	return `#${new URLSearchParams(words)}`;
}
function makeState(selection2) {
	return Object.fromEntries(Object.entries(selection2).map(([name2, value2]) => [name2, y3(value2)]));
}
function snapshot(state) {
	return Object.fromEntries(Object.entries(state).map(([name2, field2]) => [name2, field2.value]));
}
function assign(state, next) {
	r3(() => {
		for (const [name2, value2] of Object.entries(next)) state[name2].value = value2;
	});
}
function moved(trace, now, block) {
	const { blocks, photo: photo3 } = trace.manifest;
	const [from, to] = [blocks[Math.min(now.block, blocks.length - 1)], blocks[Math.min(block, blocks.length - 1)]];
	if (now.token < from.prefix) return Math.min(now.token, tokens(to) - 1);
	return tokenAt(to, placeOf(from, now.token, photo3.input), photo3.input);
}
function selectBlock(app, block, place) {
	const { blocks, photo: photo3 } = app.trace.value.manifest;
	const now = snapshot(app.state);
	const head = Math.min(now.head, blocks[block].heads - 1);
	return { block, head, token: place ? tokenAt(blocks[block], place, photo3.input) : moved(app.trace.value, now, block) };
}
var chooseBlock = (app, block, place) => assign(app.state, selectBlock(app, block, place));
function selectSide(app, side) {
	const [from, to] = [app.trace.value.manifest, app.traces[side === "B" ? 1 : 0].manifest];
	const now = snapshot(app.state);
	const block = Math.min(now.block, to.blocks.length - 1);
	const before = from.blocks[now.block];
	const place = now.token < before.prefix ? [0.5, 0.5] : placeOf(before, now.token, from.photo.input);
	return {
		side,
		block,
		head: Math.min(now.head, to.blocks[block].heads - 1),
		token: tokenAt(to.blocks[block], place, to.photo.input),
		method: to.methods.some(({ id }) => id === now.method) ? now.method : to.methods[0]?.id ?? "",
		cls: Math.min(now.cls, Math.max(0, to.model.classes - 1))
	};
}
var chooseSide = (app, side) => assign(app.state, selectSide(app, side));
function linkAddress(app) {
	let timer = 0;
	const keep = x2(() => {
		const hash = write(snapshot(app.state), app.traces.length, app.place);
		clearTimeout(timer);
		timer = window.setTimeout(() => {
			try {
				history.replaceState(null, "", hash);
			} catch {
			}
		}, 200);
	});
	const listen2 = () => assign(app.state, parse(location.hash, snapshot(app.state), app.traces));
	addEventListener("hashchange", listen2);
	return () => {
		keep();
		clearTimeout(timer);
		removeEventListener("hashchange", listen2);
	};
}

// src/grid.ts
var REMEMBERED = 24;
var Grid = class {
	rows;
	columns;
	prefix;
	total;
	// tokens: prefix, then grid
	padded;
	shift;
	slotOf;
	// of each token, its place in `queries`
	arrays;
	remembered = /* @__PURE__ */ new Map();
	constructor(block, arrays) {
		const cut = block.cut && { window: pair(block.cut.window), shift: pair(block.cut.shift) };
		this.arrays = { ...arrays, cut, groups: block.groups, queriesPerGroup: block.queries_per_group, keysPerGroup: block.keys_per_group };
		[this.rows, this.columns] = block.spatial;
		this.prefix = block.prefix;
		this.total = this.prefix + this.rows * this.columns;
		this.shift = cut ? cut.shift : [0, 0];
		this.padded = cut ? [up(this.rows, cut.window[0]), up(this.columns, cut.window[1])] : [this.rows, this.columns];
		this.slotOf = new Int32Array(this.total).fill(-1);
		arrays.queries.forEach((token, slot) => {
			if (token >= 0) this.slotOf[token] = slot;
		});
	}
	get queries() {
		return this.arrays.queries;
	}
	get keys() {
		return this.arrays.keys;
	}
	get boxes() {
		return this.arrays.boxes;
	}
	get queriesPerGroup() {
		return this.arrays.queriesPerGroup;
	}
	get keysPerGroup() {
		return this.arrays.keysPerGroup;
	}
	get rolls() {
		return this.shift[0] > 0 || this.shift[1] > 0;
	}
	isPrefix(token) {
		return token >= 0 && token < this.prefix;
	}
	isToken(token) {
		return token >= 0 && token < this.total;
	}
	group(slot) {
		return Math.floor(slot / this.queriesPerGroup);
	}
	member(group, key) {
		return group * this.keysPerGroup + key;
	}
	key(group, key) {
		return this.keys[this.member(group, key)];
	}
	tokenAt(y5, x3) {
		return this.prefix + y5 * this.columns + x3;
	}
	position(token) {
		const place = token - this.prefix;
		return [Math.floor(place / this.columns), place % this.columns];
	}
	// Row and column, on the padded grid, of a place in a cut; elsewhere only tokens have a place.
	place(slot) {
		const { cut, queriesPerGroup, queries } = this.arrays;
		if (!cut) return queries[slot] < this.prefix ? null : this.position(queries[slot]);
		const [high, wide] = cut.window;
		const across = this.padded[1] / wide;
		const [group, key] = [Math.floor(slot / queriesPerGroup), slot % queriesPerGroup];
		const y5 = Math.floor(group / across) * high + Math.floor(key / wide);
		const x3 = group % across * wide + key % wide;
		return [(y5 + this.shift[0]) % this.padded[0], (x3 + this.shift[1]) % this.padded[1]];
	}
	// The query that lies at a row and column of the padded grid, or -1 outside.
	slotAt(y5, x3) {
		const { cut, queriesPerGroup } = this.arrays;
		if (y5 < 0 || x3 < 0 || y5 >= this.padded[0] || x3 >= this.padded[1]) return -1;
		if (!cut) return this.slotOf[this.tokenAt(y5, x3)];
		const [high, wide] = cut.window;
		const v4 = (y5 - this.shift[0] + this.padded[0]) % this.padded[0];
		const h5 = (x3 - this.shift[1] + this.padded[1]) % this.padded[1];
		const group = Math.floor(v4 / high) * (this.padded[1] / wide) + Math.floor(h5 / wide);
		return group * queriesPerGroup + v4 % high * wide + h5 % wide;
	}
	sees(slot, group, key) {
		const { queryRegions, keyRegions } = this.arrays;
		return !queryRegions || !keyRegions || queryRegions[slot] === keyRegions[this.member(group, key)];
	}
	standing(slot, key) {
		const group = this.group(slot);
		if (!this.sees(slot, group, key)) return "masked";
		return this.key(group, key) < 0 ? "padding" : "seen";
	}
	region(group, key) {
		return this.arrays.keyRegions ? this.arrays.keyRegions[this.member(group, key)] : 0;
	}
	regionOf(slot) {
		return this.arrays.queryRegions ? this.arrays.queryRegions[slot] : 0;
	}
	// The labels of a group's keys in order: parts that do not see one another.
	parts(group) {
		const labels = /* @__PURE__ */ new Set();
		for (let key = 0; key < this.keysPerGroup; key++) {
			if (this.key(group, key) >= 0) labels.add(this.region(group, key));
		}
		return [...labels];
	}
	// The tokens that a key stands for, on the padded grid; null where it has no place.
	box(group, key) {
		const [member, { cut, boxes }] = [this.member(group, key), this.arrays];
		if (cut) return cell(this.place(member));
		const token = this.keys[member];
		if (token < this.prefix) return null;
		if (token < this.total) return cell(this.position(token));
		return boxes && [boxes[4 * member], boxes[4 * member + 2], boxes[4 * member + 1], boxes[4 * member + 3]];
	}
	// The key of a group that is the query itself, or -1.
	ownKey(slot) {
		const start = this.member(this.group(slot), 0);
		return this.keys.subarray(start, start + this.keysPerGroup).indexOf(this.queries[slot]);
	}
	spots(group) {
		return this.remember(`spots ${group}`, () => this.findSpots(group));
	}
	table(group) {
		return this.remember(`table ${group}`, () => this.findTable(group));
	}
	remember(name2, find) {
		const known3 = this.remembered.get(name2);
		if (known3) return known3;
		if (this.remembered.size >= REMEMBERED) this.remembered.clear();
		const found = find();
		this.remembered.set(name2, found);
		return found;
	}
	findSpots(group) {
		const [boxes, first, known3] = [[], [], /* @__PURE__ */ new Map()];
		const spotOf = new Int32Array(this.keysPerGroup).fill(-1);
		for (let key = 0; key < this.keysPerGroup; key++) {
			const box = this.box(group, key);
			if (!box) continue;
			const name2 = box.join();
			let spot = known3.get(name2);
			if (spot === void 0) {
				spot = boxes.push(box) - 1;
				known3.set(name2, spot);
				first.push(key);
			}
			spotOf[key] = spot;
		}
		const wide = this.padded[1];
		const cover = new Int32Array(this.padded[0] * wide).fill(-1);
		const order = boxes.map((_4, spot) => spot).sort((a5, b4) => area(boxes[b4]) - area(boxes[a5]));
		for (const spot of order) {
			const [y0, x0, y1, x1] = boxes[spot];
			for (let y5 = y0; y5 < y1; y5++) cover.fill(spot, y5 * wide + x0, y5 * wide + x1);
		}
		const cells2 = [];
		cover.forEach((spot, at) => {
			if (spot >= 0) cells2.push([Math.floor(at / wide), at % wide]);
		});
		const pooled = boxes.some((box) => area(box) > 1);
		return { boxes, spotOf, cover, cells: cells2, first: Int32Array.from(first), pooled };
	}
	// As the window that the keys are, as the rectangle that their places form, or as an even list.
	findTable(group) {
		const { cut, keysPerGroup } = this.arrays;
		const side = Math.ceil(Math.sqrt(keysPerGroup));
		const even = (rows, columns, listed) => ({ rows, columns, shape: [1, 1], at: Int32Array.from({ length: keysPerGroup }, (_4, key) => key), listed });
		const found = cut ? even(cut.window[0], cut.window[1], false) : this.rectangle(group) ?? even(Math.ceil(keysPerGroup / side), side, true);
		const keyAt2 = new Int32Array(found.rows * found.columns).fill(-1);
		found.at.forEach((at, key) => {
			if (at >= 0) keyAt2[at] = key;
		});
		return { ...found, keyAt: keyAt2 };
	}
	rectangle(group) {
		const boxes = Array.from({ length: this.keysPerGroup }, (_4, key) => this.box(group, key));
		const placed = boxes.filter((box) => box !== null);
		const starts = (axis) => [...new Set(placed.map((box) => box[axis]))].sort((a5, b4) => a5 - b4);
		const [ys, xs] = [starts(0), starts(1)];
		const [rows, columns] = [ys.length, xs.length];
		const lean = Math.max(rows, columns) > 4 * Math.min(rows, columns);
		if (!placed.length || placed.length !== rows * columns || lean) return null;
		const [rowOf, columnOf] = [ys, xs].map((list) => new Map(list.map((from, i4) => [from, i4])));
		const cellOf = (box) => rowOf.get(box[0]) * columns + columnOf.get(box[1]);
		const at = Int32Array.from(boxes, (box) => box ? cellOf(box) : -1);
		if (new Set(at.filter((place) => place >= 0)).size !== placed.length) return null;
		const [y0, x0, y1, x1] = placed[0];
		return { rows, columns, shape: [y1 - y0, x1 - x0], at, listed: false };
	}
	// Edges [y0, x0, y1, x1] between neighbouring cells whose `name(y, x)` differs, straight ones
	// joined. Where the grid rolls along an axis, its last line neighbours its first.
	edges(name2, cells2) {
		const [high, wide] = this.padded;
		const at = (y5, x3) => {
			if (!this.rolls || this.shift[0] === 0) {
				if (y5 < 0 || y5 >= high) return OUTSIDE;
			}
			if (!this.rolls || this.shift[1] === 0) {
				if (x3 < 0 || x3 >= wide) return OUTSIDE;
			}
			return name2((y5 + high) % high, (x3 + wide) % wide);
		};
		const [flat2, upright] = [/* @__PURE__ */ new Set(), /* @__PURE__ */ new Set()];
		const look = (y5, x3) => {
			const here = at(y5, x3);
			if (at(y5 - 1, x3) !== here) flat2.add(y5 * (wide + 1) + x3);
			if (at(y5 + 1, x3) !== here) flat2.add((y5 + 1) * (wide + 1) + x3);
			if (at(y5, x3 - 1) !== here) upright.add(x3 * (high + 1) + y5);
			if (at(y5, x3 + 1) !== here) upright.add((x3 + 1) * (high + 1) + y5);
		};
		if (cells2) for (const [y5, x3] of cells2) look(y5, x3);
		else for (let y5 = 0; y5 < high; y5++) for (let x3 = 0; x3 < wide; x3++) look(y5, x3);
		return [
			...joined(flat2, wide + 1).map(([y5, from, to]) => [y5, from, y5, to]),
			...joined(upright, high + 1).map(([x3, from, to]) => [from, x3, to, x3])
		];
	}
	// The borders between groups, or none where groups are too scattered for borders to mean anything.
	borders() {
		const { cut, groups: groups2 } = this.arrays;
		if (cut) return this.lines(this.shift, cut.window);
		const edges = groups2 > 1 ? this.edges((y5, x3) => this.group(this.slotAt(y5, x3))) : [];
		const length = edges.reduce((sum, [y0, x0, y1, x1]) => sum + y1 - y0 + x1 - x0, 0);
		return length > 1.5 * this.rows * this.columns ? [] : edges;
	}
	// Where a cut without a shift would lie: the borders of the block before.
	unshifted() {
		const { cut } = this.arrays;
		return cut && this.rolls ? this.lines(cut.window, cut.window) : [];
	}
	lines(from, window2) {
		const [high, wide] = this.padded;
		const found = [];
		for (let y5 = from[0] % high; y5 <= high; y5 += window2[0]) found.push([y5, 0, y5, wide]);
		for (let x3 = from[1] % wide; x3 <= wide; x3 += window2[1]) found.push([0, x3, high, x3]);
		return found;
	}
};
var OUTSIDE = /* @__PURE__ */ Symbol("outside");
var pair = ([first, second2]) => [first, second2];
var up = (n3, m5) => Math.ceil(n3 / m5) * m5;
var area = ([y0, x0, y1, x1]) => (y1 - y0) * (x1 - x0);
var cell = (place) => place && [place[0], place[1], place[0] + 1, place[1] + 1];
function joined(marks2, across) {
	const runs = [];
	let last = -2;
	for (const mark2 of [...marks2].sort((a5, b4) => a5 - b4)) {
		const run = runs[runs.length - 1];
		if (run && mark2 === last + 1 && run[0] === Math.floor(mark2 / across)) run[2] += 1;
		else runs.push([Math.floor(mark2 / across), mark2 % across, mark2 % across + 1]);
		last = mark2;
	}
	return runs;
}

// src/rows.ts
function decodeRow(codes, start, length) {
	const row = new Float32Array(length);
	let sum = 0;
	for (let i4 = 0; i4 < length; i4++) sum += row[i4] = codes[start + i4] ** 2;
	if (sum > 0) for (let i4 = 0; i4 < length; i4++) row[i4] /= sum;
	return row;
}

// src/rollout.ts
var RESIDUAL = 0.5;
function pull(r4, grid, codes) {
	const next = new Float64Array(r4.length);
	for (let slot = 0; slot < grid.queries.length; slot++) {
		const token = grid.queries[slot];
		if (token < 0 || r4[token] === 0) continue;
		const start = grid.group(slot) * grid.keysPerGroup;
		const row = decodeRow(codes, slot * grid.keysPerGroup, grid.keysPerGroup);
		let real = 0;
		for (let key = 0; key < grid.keysPerGroup; key++) if (grid.keys[start + key] >= 0) real += row[key];
		if (real === 0) continue;
		const scale2 = (1 - RESIDUAL) * r4[token] / real;
		for (let key = 0; key < grid.keysPerGroup; key++) if (row[key] > 0) give(next, grid, start + key, scale2 * row[key]);
	}
	for (let token = 0; token < r4.length; token++) next[token] += RESIDUAL * r4[token];
	return next;
}
function give(next, grid, other, share2) {
	const token = grid.keys[other];
	if (token < 0) return;
	if (grid.isToken(token)) {
		next[token] += share2;
		return;
	}
	const [y0, y1, x0, x1] = grid.boxes.subarray(4 * other, 4 * other + 4);
	const each = share2 / ((y1 - y0) * (x1 - x0));
	for (let y5 = y0; y5 < y1; y5++) for (let x3 = x0; x3 < x1; x3++) next[grid.tokenAt(y5, x3)] += each;
}
function gridPart(r4, prefix) {
	const map2 = r4.slice(prefix);
	const sum = map2.reduce((total, value2) => total + value2, 0);
	return sum > 0 ? map2.map((value2) => value2 / sum) : map2;
}
function unmerge(map2, from, to, factor2, prefix) {
	const next = new Float64Array(prefix + to[0] * to[1]);
	for (let y5 = 0; y5 < from[0]; y5++) {
		for (let x3 = 0; x3 < from[1]; x3++) {
			const share2 = map2[y5 * from[1] + x3];
			if (share2 === 0) continue;
			const [bottom, right] = [Math.min(to[0], (y5 + 1) * factor2[0]), Math.min(to[1], (x3 + 1) * factor2[1])];
			const each = share2 / ((bottom - y5 * factor2[0]) * (right - x3 * factor2[1]));
			for (let v4 = y5 * factor2[0]; v4 < bottom; v4++) for (let u4 = x3 * factor2[1]; u4 < right; u4++) next[prefix + v4 * to[1] + u4] += each;
		}
	}
	return next;
}
async function rolloutStages(trace, block, token) {
	const { blocks, stages: stages2 } = trace.manifest;
	let r4 = new Float64Array(blocks[block].prefix + blocks[block].spatial[0] * blocks[block].spatial[1]);
	r4[token] = 1;
	const rows = [];
	for (let i4 = block; i4 >= 0; i4--) {
		const { stage, prefix, spatial, mean } = blocks[i4];
		const [grid, codes] = await Promise.all([trace.block(i4).load(), trace.array(mean)]);
		r4 = pull(r4, grid, codes.data);
		const below = i4 > 0 ? blocks[i4 - 1] : null;
		if (below && below.stage === stage) continue;
		const map2 = gridPart(r4, prefix);
		rows.push({ stage, height: spatial[0], width: spatial[1], values: Float32Array.from(map2) });
		const merge3 = stages2[stage].merge;
		if (below) r4 = unmerge(map2, spatial, below.spatial, merge3 ? merge3.factor : [1, 1], below.prefix);
	}
	return rows;
}
async function rollout(trace, block, token) {
	const rows = await rolloutStages(trace, block, token);
	const { height, width, values } = rows[rows.length - 1];
	return { height, width, values };
}

// src/source.ts
var Missing = class extends Error {
	constructor(array2) {
		super(`“${array2}” is not kept in this report; the server or a notebook can compute it.`);
		this.array = array2;
	}
	array;
};
function widen(halves) {
	const wide = new Float32Array(halves.length);
	for (let i4 = 0; i4 < halves.length; i4++) {
		const half = halves[i4];
		const [exponent2, fraction] = [half >> 10 & 31, half & 1023];
		let value2;
		if (exponent2 === 0) value2 = fraction * 2 ** -24;
		else if (exponent2 === 31) value2 = fraction ? NaN : Infinity;
		else value2 = (1 + fraction / 1024) * 2 ** (exponent2 - 15);
		wide[i4] = half >> 15 ? -value2 : value2;
	}
	return wide;
}
function toArray(dtype, shape2, bytes) {
	const whole = bytes.byteOffset % 4 ? bytes.slice() : bytes;
	const { buffer, byteOffset: start, byteLength: length } = whole;
	const data = dtype === "i32" ? new Int32Array(buffer, start, length / 4) : dtype === "f32" ? new Float32Array(buffer, start, length / 4) : dtype === "f16" ? widen(new Uint16Array(buffer, start, length / 2)) : whole;
	const expected = shape2.reduce((product, n3) => product * n3, 1);
	if (data.length !== expected) throw new Error(`an array of ${data.length} numbers, not ${expected}`);
	return { dtype, shape: shape2, data };
}
var Kept = class {
	constructor(load, limit = 96e6) {
		this.load = load;
		this.limit = limit;
	}
	load;
	limit;
	kept = /* @__PURE__ */ new Map();
	bytes = 0;
	array(name2, signal) {
		const known3 = this.kept.get(name2);
		if (known3) {
			this.kept.delete(name2);
			this.kept.set(name2, known3);
			return known3.promise;
		}
		const entry = { promise: this.load(name2, signal), bytes: 0 };
		this.kept.set(name2, entry);
		entry.promise.then(
			(array2) => {
				entry.bytes = array2.data.byteLength;
				this.bytes += entry.bytes;
				this.forget(name2);
			},
			() => this.kept.delete(name2)
		);
		return entry.promise;
	}
	forget(latest) {
		for (const [name2, { bytes }] of this.kept) {
			if (this.bytes <= this.limit) return;
			if (!bytes || name2 === latest) continue;
			this.kept.delete(name2);
			this.bytes -= bytes;
		}
	}
};

// src/trace.ts
var AT_ONCE = 4e5;
var BlockView = class {
	constructor(source, index, facts) {
		this.source = source;
		this.index = index;
		this.facts = facts;
	}
	source;
	index;
	facts;
	loading = null;
	// Which tokens meet, unpacked once.
	load() {
		return this.loading ??= this.unpack().catch((error) => {
			this.loading = null;
			throw error;
		});
	}
	async unpack() {
		const { queries, keys, query_regions, key_regions, boxes } = this.facts;
		const numbers = await Promise.all([queries, keys, query_regions, key_regions, boxes].map(async (name2) => name2 === null ? null : (await this.source.array(name2)).data));
		return new Grid(this.facts, {
			queries: numbers[0],
			keys: numbers[1],
			queryRegions: numbers[2],
			keyRegions: numbers[3],
			boxes: numbers[4]
		});
	}
};
var TraceView = class {
	// `before` is the same trace as it was when less of it was there: what it unpacked is kept.
	constructor(source, before) {
		this.source = source;
		this.manifest = source.manifest;
		this.blocks = before?.blocks ?? this.manifest.blocks.map((facts, i4) => new BlockView(source, i4, facts));
		this.images = before?.images ?? /* @__PURE__ */ new Map();
	}
	source;
	manifest;
	blocks;
	images;
	block(index) {
		return this.blocks[index];
	}
	array(name2) {
		return this.source.array(name2);
	}
	// How one token divides its attention; `heads` also loads every head and the bias.
	async row(block, token, heads2 = false) {
		const { facts } = this.blocks[block];
		const grid = await this.blocks[block].load();
		const slot = grid.slotOf[token];
		if (!(slot >= 0)) throw new RangeError(`block ${block} has no token ${token}`);
		const [group, query, start] = [grid.group(slot), slot % grid.queriesPerGroup, grid.group(slot) * grid.keysPerGroup];
		const wanted = heads2 && this.hasHeads(block) ? this.heads(block, grid, group, query) : null;
		const [each, mean, bias] = await Promise.all([wanted, this.mean(block, grid, slot), heads2 ? this.bias(facts, group, query) : null]);
		const allowed = Uint8Array.from({ length: grid.keysPerGroup }, (_4, key) => grid.sees(slot, group, key) ? 1 : 0);
		return {
			token,
			group,
			query,
			allowed,
			mean,
			heads: each,
			bias,
			keys: grid.keys.subarray(start, start + grid.keysPerGroup),
			boxes: grid.boxes && grid.boxes.subarray(4 * start, 4 * (start + grid.keysPerGroup))
		};
	}
	// Are the heads of a block to be had one by one?
	hasHeads(block) {
		return this.blocks[block].facts.attention !== null || this.manifest.on_demand;
	}
	// May every token of a block be the query, or only the `chosen` ones? Null: every one.
	async askable(block) {
		const { facts } = this.blocks[block];
		if (!facts.chosen || this.manifest.on_demand || facts.attention) return null;
		const [grid, slots] = await Promise.all([this.blocks[block].load(), this.array(facts.chosen)]);
		return Array.from(slots.data, (slot) => grid.queries[slot]).filter((token) => token >= 0);
	}
	// The askable token that lies nearest.
	async nearest(block, token) {
		const allowed = await this.askable(block);
		if (!allowed || allowed.includes(token)) return token;
		const grid = await this.blocks[block].load();
		const [y5, x3] = grid.position(token);
		const far = (other) => {
			const [v4, u4] = grid.position(other);
			return (v4 - y5) ** 2 + (u4 - x3) ** 2;
		};
		return allowed.reduce((best, other) => far(other) < far(best) ? other : best);
	}
	async mean(block, grid, slot) {
		const { mean, chosen } = this.blocks[block].facts;
		if (mean && !chosen) return decodeRow((await this.array(mean)).data, slot * grid.keysPerGroup, grid.keysPerGroup);
		if (mean && chosen) {
			const place = (await this.array(chosen)).data.indexOf(slot);
			if (place >= 0) return decodeRow((await this.array(mean)).data, place * grid.keysPerGroup, grid.keysPerGroup);
		}
		const each = await this.heads(block, grid, grid.group(slot), slot % grid.queriesPerGroup);
		return each[0].map((_4, key) => each.reduce((sum, row) => sum + row[key], 0) / each.length);
	}
	async heads(block, grid, group, query) {
		const { facts } = this.blocks[block];
		const heads2 = Array.from({ length: facts.heads }, (_4, head) => head);
		if (facts.attention) {
			const codes2 = (await this.array(facts.attention)).data;
			return heads2.map((head) => decodeRow(codes2, ((group * facts.heads + head) * grid.queriesPerGroup + query) * grid.keysPerGroup, grid.keysPerGroup));
		}
		const most = Math.max(1, Math.min(grid.queriesPerGroup, Math.floor(AT_ONCE / (facts.heads * grid.keysPerGroup))));
		const first = Math.floor(query / most) * most;
		const count2 = Math.min(most, grid.queriesPerGroup - first);
		const name2 = `b${block}/rows/${group}/${first}/${count2}`;
		if (!this.manifest.on_demand) throw new Missing(name2);
		const codes = (await this.array(name2)).data;
		return heads2.map((head) => decodeRow(codes, ((query - first) * facts.heads + head) * grid.keysPerGroup, grid.keysPerGroup));
	}
	async bias(facts, group, query) {
		if (!facts.bias) return null;
		const { shape: [groups2, heads2, queriesPerGroup, keysPerGroup], data } = await this.array(facts.bias);
		const own = groups2 > 1 ? group : 0;
		return Array.from({ length: heads2 }, (_4, head) => {
			const start = ((own * heads2 + head) * queriesPerGroup + query) * keysPerGroup;
			return data.subarray(start, start + keysPerGroup);
		});
	}
	// How much of a token's state came from each token of the first grid, by the weights alone.
	async rollout(block, token) {
		const { facts } = this.blocks[block];
		const stored = this.manifest.blocks.slice(0, block + 1).every(({ mean, chosen }) => mean && !chosen);
		if (stored) return rollout(this, block, token);
		const [y5, x3] = [Math.floor((token - facts.prefix) / facts.spatial[1]), (token - facts.prefix) % facts.spatial[1]];
		const name2 = `rollout/${block}/${y5}/${x3}`;
		if (!this.manifest.on_demand && !this.source.has(name2)) throw new Missing(name2);
		return this.map2d(name2);
	}
	// A map of a method for a class (or for none), stored or computed on demand.
	async map(method, cls) {
		const stored = this.manifest.maps.find((map2) => map2.method === method && (map2.class === null || map2.class === cls));
		if (stored) return this.map2d(stored.array);
		const name2 = `map/${method}/${cls ?? 0}`;
		if (!this.manifest.on_demand && !this.source.has(name2)) throw new Missing(name2);
		return this.map2d(name2);
	}
	// A map of a method for a class at one pixel of a mask, computed on demand.
	mapAt(method, cls, [y5, x3]) {
		return this.map2d(`map/${method}/${cls}/${y5}/${x3}`);
	}
	async map2d(name2) {
		const { shape: [height, width], data } = await this.array(name2);
		return { height, width, values: data instanceof Float32Array ? data : Float32Array.from(data) };
	}
	// The picture: "seen" is exactly the model's input, "shown" the same part of the photo, larger.
	image(which) {
		const known3 = this.images.get(which);
		if (known3) return known3;
		const name2 = this.manifest.photo[which];
		const bitmap = this.array(name2).then(({ data }) => createImageBitmap(
			new Blob([data], { type: this.manifest.arrays[name2]?.type ?? "" })
		));
		this.images.set(which, bitmap);
		return bitmap;
	}
};

// node_modules/preact/jsx-runtime/dist/jsxRuntime.mjs
var f4 = /* @__PURE__ */ Symbol.for("pv");
var o4 = 0;
function a4(t4, e4, n3, u4, a5, i4) {
	e4 || (e4 = {});
	var c4, l4, p5 = e4;
	if ("ref" in p5 && "function" != typeof t4) for (l4 in p5 = {}, e4) "ref" == l4 ? c4 = e4[l4] : p5[l4] = e4[l4];
	var s4 = { type: t4, props: p5, key: n3, ref: c4, __k: null, __: null, __b: 0, __e: null, __c: null, constructor: f4, __v: --o4, __i: -1, __u: 0 };
	return (a5 || i4) && (s4.__source = a5, s4.__self = i4), n.vnode && n.vnode(s4), s4;
}

// src/ui/Boundary.tsx
var Boundary = class extends x {
	state = { fault: null };
	static getDerivedStateFromError(error) {
		return { fault: error instanceof Error ? error.message : String(error) };
	}
	componentDidCatch(error) {
		reportError(error);
	}
	render() {
		if (this.state.fault !== null) return a4("p", { class: "warning", role: "alert", children: [
			this.props.name,
			" cannot be shown: ",
			this.state.fault
		] });
		return a4($, { children: this.props.children });
	}
};

// src/groups.ts
var known = /* @__PURE__ */ new WeakMap();
function groupsOf(trace, block) {
	const mine = known.get(trace) ?? /* @__PURE__ */ new Map();
	known.set(trace, mine);
	const found = mine.get(block) ?? read(trace, block);
	mine.set(block, found);
	found.catch(() => mine.delete(block));
	return found;
}
async function read(trace, block) {
	const facts = trace.manifest.blocks[block];
	const { queries, keys, query_regions, key_regions, boxes } = facts;
	const load = async (name2) => name2 === null ? null : (await trace.array(name2)).data;
	const [q2, k4, queryLabels, keyLabels, places] = await Promise.all([queries, keys, query_regions, key_regions, boxes].map(load));
	const [rows, columns] = facts.spatial;
	const total = facts.prefix + rows * columns;
	const slotOf = new Int32Array(total).fill(-1);
	q2.forEach((token, slot) => {
		if (token >= 0) slotOf[token] = slot;
	});
	return {
		rows,
		columns,
		prefix: facts.prefix,
		total,
		slotOf,
		queryLabels,
		keyLabels,
		boxes: places,
		groups: facts.groups,
		queriesPerGroup: facts.queries_per_group,
		keysPerGroup: facts.keys_per_group,
		queries: q2,
		keys: k4
	};
}
var sees = ({ queryLabels, keyLabels }, slot, key) => !queryLabels || !keyLabels || queryLabels[slot] === keyLabels[key];
function boxOf({ keys, boxes, prefix, columns, total }, key) {
	const token = keys[key];
	if (token < prefix) return null;
	if (token < total) {
		const [y5, x3] = [Math.floor((token - prefix) / columns), (token - prefix) % columns];
		return [y5, x3, y5 + 1, x3 + 1];
	}
	return boxes && [boxes[4 * key], boxes[4 * key + 2], boxes[4 * key + 1], boxes[4 * key + 3]];
}

// src/ui/hooks.ts
function useLoaded(load, needs) {
	const [loaded, set2] = d2({ value: null, error: null, fresh: false });
	A2(() => {
		let wanted = true;
		const promise = load();
		if (!promise) return void 0;
		set2((now) => now.fresh ? { ...now, fresh: false } : now);
		promise.then(
			(value2) => {
				if (wanted) set2({ value: value2, error: null, fresh: true });
			},
			(error) => {
				if (wanted) set2({ value: null, error: error instanceof Error ? error.message : String(error), fresh: true });
			}
		);
		return () => {
			wanted = false;
		};
	}, needs);
	return loaded;
}
function usePaint(paint, needs) {
	const ref = T2(null);
	const width = useWidth(ref);
	A2(() => {
		if (ref.current && width > 0) paint(ref.current, width);
	}, [...needs, width]);
	return ref;
}
function useWidth(ref) {
	const [width, set2] = d2(0);
	A2(() => {
		const parent = ref.current?.parentElement;
		if (!parent) return void 0;
		const measure = () => {
			const style = getComputedStyle(parent);
			set2(Math.max(0, Math.floor(parent.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight))));
		};
		measure();
		const observer = new ResizeObserver(measure);
		observer.observe(parent);
		return () => observer.disconnect();
	}, []);
	return width;
}

// src/words.ts
var times = (numbers) => numbers.join(" × ");
var count = (n3) => n3.toLocaleString("en");
var share = (p5) => `${(100 * p5).toFixed(p5 < 0.0995 ? 2 : 1)} %`;
var plural = (n3, word) => `${count(n3)} ${word}${n3 === 1 ? "" : word.endsWith("s") ? "es" : "s"}`;
var capital = (text) => text ? text[0].toUpperCase() + text.slice(1) : text;
var blockName = ({ name: name2, stage, block }) => `stage ${stage + 1}, block ${block + 1}${name2.split(".").slice(4).map((part) => `, ${part}`).join("")}`;
var tokensOf = (block) => block.spatial[0] * block.spatial[1];
function brief(n3) {
	if (n3 === 0 || !Number.isFinite(n3)) return String(n3);
	const size = Math.abs(n3);
	if (size < 1e-3 || size >= 1e6) return n3.toExponential(1);
	return Number.isInteger(n3) ? count(n3) : n3.toFixed(Math.max(0, 2 - Math.floor(Math.log10(size))));
}
function scaled(n3, unit2 = "") {
	const step3 = n3 > 0 ? Math.min(4, Math.max(0, Math.floor(Math.log10(n3) / 3))) : 0;
	const part = n3 / 1e3 ** step3;
	const text = step3 === 0 && Number.isInteger(n3) ? String(n3) : part.toPrecision(3);
	return `${text} ${["", "k", "M", "G", "T"][step3]}${unit2}`.trim();
}
function tokenWords(block, token) {
	if (token < 0) return "padding";
	if (token < block.prefix) return `prefix token ${token + 1}`;
	const at = token - block.prefix;
	return `row ${Math.floor(at / block.spatial[1]) + 1}, column ${at % block.spatial[1] + 1}`;
}

// src/tour/quiz.ts
var may = (bond2) => bond2 === "token" || bond2 === "pooled";
function bond(block, queryToken, other) {
	const slot = block.slotOf[queryToken];
	const start = Math.floor(slot / block.queriesPerGroup) * block.keysPerGroup;
	let found = { bond: "apart", cell: null };
	for (let key = start; key < start + block.keysPerGroup; key++) {
		const token = block.keys[key];
		if (token === other) {
			if (sees(block, slot, key)) return { bond: "token", cell: null };
			if (found.bond === "apart") found = { bond: "masked", cell: null };
		} else if (token >= block.total && sees(block, slot, key)) {
			const box = boxOf(block, key);
			if (box && holds(block, box, other)) found = { bond: "pooled", cell: [box[2] - box[0], box[3] - box[1]] };
		}
	}
	return found;
}
function holds(block, [y0, x0, y1, x1], token) {
	if (token < block.prefix) return false;
	const [y5, x3] = position(block, token);
	return y5 >= y0 && y5 < y1 && x3 >= x0 && x3 < x1;
}
var position = ({ prefix, columns }, token) => [Math.floor((token - prefix) / columns), (token - prefix) % columns];
var tokenAt2 = ({ prefix, columns }, y5, x3) => prefix + y5 * columns + x3;
function joinQuiz(before, after) {
	const { groups: groups2 } = after;
	const pairs = [...neighbours(groups2)].sort((a5, b4) => off(groups2, a5) - off(groups2, b4));
	const changes = pairs.find(([a5, b4]) => !may(bond(before.groups, a5, b4).bond) && may(bond(groups2, a5, b4).bond)) ?? pairs.find(([a5, b4]) => may(bond(before.groups, a5, b4).bond) !== may(bond(groups2, a5, b4).bond)) ?? pairs[0];
	return changes ? quizOf("join", before, after, changes) : null;
}
function partQuiz(after) {
	const { keys, groups: groups2, keysPerGroup, prefix, total } = after.groups;
	const inside = (token) => token >= prefix && token < total;
	for (let group = groups2 - 1; group >= 0; group--) {
		for (let key = (group + 1) * keysPerGroup - 1; key > group * keysPerGroup; key--) {
			for (let other = key - 1; other >= group * keysPerGroup; other--) {
				const [a5, b4] = [keys[key], keys[other]];
				if (!inside(a5) || !inside(b4)) continue;
				if (bond(after.groups, a5, b4).bond === "masked") return quizOf("part", null, after, [a5, b4]);
			}
		}
	}
	return null;
}
function quizOf(quizKind, before, after, [queryToken, other]) {
	const was = before && { block: before.block, bond: bond(before.groups, queryToken, other).bond };
	return { quizKind, block: after.block, queryToken, other, was, ...bond(after.groups, queryToken, other) };
}
function* neighbours(block) {
	for (let y5 = 0; y5 < block.rows; y5++) {
		for (let x3 = 0; x3 < block.columns; x3++) {
			if (x3 + 1 < block.columns) yield [tokenAt2(block, y5, x3), tokenAt2(block, y5, x3 + 1)];
			if (y5 + 1 < block.rows) yield [tokenAt2(block, y5, x3), tokenAt2(block, y5 + 1, x3)];
		}
	}
}
function off(block, [a5, b4]) {
	const [[ay, ax], [by, bx]] = [position(block, a5), position(block, b4)];
	return Math.hypot((ay + by + 1) / 2 / block.rows - 0.46, (ax + bx + 1) / 2 / block.columns - 0.46);
}

// src/draw/colour.ts
var WEIGHT = [
	[68, 1, 84],
	[72, 40, 120],
	[62, 74, 137],
	[49, 104, 142],
	[38, 130, 142],
	[31, 158, 137],
	[53, 183, 121],
	[109, 205, 89],
	[180, 222, 44],
	[253, 231, 37]
];
var BIAS = [
	[0, 32, 77],
	[0, 50, 110],
	[50, 69, 108],
	[80, 87, 108],
	[104, 106, 112],
	[128, 126, 120],
	[154, 146, 118],
	[182, 168, 109],
	[213, 191, 92],
	[255, 234, 70]
];
var tables = /* @__PURE__ */ new Map();
function table(stops = WEIGHT) {
	const known3 = tables.get(stops);
	if (known3) return known3;
	const made = new Uint8ClampedArray(4 * 256);
	for (let i4 = 0; i4 < 256; i4++) made.set([...colour(i4 / 255, stops), 255], 4 * i4);
	tables.set(stops, made);
	return made;
}
function colour(share2, stops = WEIGHT) {
	const place = Math.min(1, Math.max(0, share2 || 0)) * (stops.length - 1);
	const low = Math.min(stops.length - 2, Math.floor(place));
	return stops[low].map((from, i4) => Math.round(from + (stops[low + 1][i4] - from) * (place - low)));
}
var css = ([r4, g5, b4], alpha = 1) => `rgb(${r4} ${g5} ${b4} / ${alpha})`;
var inkOn = ([r4, g5, b4]) => 0.299 * r4 + 0.587 * g5 + 0.114 * b4 > 140 ? "#000" : "#fff";
var MARK = "#ffd84a";

// src/draw/hatch.ts
function tile(size, paint) {
	let made = null;
	return () => {
		if (made) return made;
		made = document.createElement("canvas");
		made.width = made.height = size;
		paint(made.getContext("2d"));
		return made;
	};
}
var HATCH = tile(8, (pen2) => {
	pen2.fillStyle = "rgb(40 37 48 / .78)";
	pen2.fillRect(0, 0, 8, 8);
	pen2.strokeStyle = "rgb(255 255 255 / .8)";
	pen2.lineWidth = 1.6;
	for (const shift of [-8, 0, 8]) {
		pen2.beginPath();
		pen2.moveTo(shift - 1, 9);
		pen2.lineTo(shift + 9, -1);
		pen2.stroke();
	}
});
var DOTS = tile(8, (pen2) => {
	pen2.fillStyle = "#77727f";
	pen2.fillRect(0, 0, 8, 8);
	pen2.fillStyle = "rgb(255 255 255 / .85)";
	pen2.beginPath();
	pen2.arc(4, 4, 1.2, 0, 7);
	pen2.fill();
});
function fillWith(pen2, tile2, x3, y5, w5, h5) {
	pen2.fillStyle = pen2.createPattern(tile2, "repeat");
	pen2.fillRect(x3, y5, w5, h5);
}

// src/draw/heat.ts
function pen(canvas2, width, height) {
	const ratio = window.devicePixelRatio || 1;
	const [w5, h5] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
	if (canvas2.width !== w5 || canvas2.height !== h5) [canvas2.width, canvas2.height] = [w5, h5];
	const context = canvas2.getContext("2d");
	context.setTransform(w5 / width, 0, 0, h5 / height, 0, 0);
	context.clearRect(0, 0, width, height);
	return context;
}
var greatest = (numbers) => {
	let most = -Infinity;
	for (let i4 = 0; i4 < numbers.length; i4++) if (numbers[i4] > most) most = numbers[i4];
	return most;
};
var least = (numbers) => {
	let fewest = Infinity;
	for (let i4 = 0; i4 < numbers.length; i4++) if (numbers[i4] < fewest) fewest = numbers[i4];
	return fewest;
};
function heatPixels(map2, options = {}) {
	const canvas2 = document.createElement("canvas");
	paintPixels(canvas2, map2, options);
	return canvas2;
}
function paintPixels(canvas2, { height, width, values }, options = {}) {
	if (canvas2.width !== width || canvas2.height !== height) [canvas2.width, canvas2.height] = [width, height];
	const context = canvas2.getContext("2d");
	const pixels2 = context.createImageData(width, height);
	const low = options.low ?? Math.min(0, least(values));
	const high = options.high ?? greatest(values);
	const [colours2, span, alpha] = [table(options.stops), high > low ? 255 / (high - low) : 0, 255 * (options.alpha ?? 1)];
	for (let cell2 = 0; cell2 < values.length; cell2++) {
		if (options.hidden?.(cell2) || Number.isNaN(values[cell2])) continue;
		const at = 4 * Math.min(255, Math.max(0, Math.round((values[cell2] - low) * span)));
		pixels2.data[4 * cell2] = colours2[at];
		pixels2.data[4 * cell2 + 1] = colours2[at + 1];
		pixels2.data[4 * cell2 + 2] = colours2[at + 2];
		pixels2.data[4 * cell2 + 3] = alpha;
	}
	context.putImageData(pixels2, 0, 0);
}
function drawHeat(context, map2, [x3, y5, w5, h5], options = {}) {
	context.save();
	context.imageSmoothingEnabled = false;
	context.drawImage(heatPixels(map2, options), x3, y5, w5, h5);
	context.restore();
}
function strokeEdges(context, edges, unit2, ink, width, dash = [], halo = 2) {
	context.beginPath();
	for (const [y0, x0, y1, x1] of edges) {
		context.moveTo(x0 * unit2[1], y0 * unit2[0]);
		context.lineTo(x1 * unit2[1], y1 * unit2[0]);
	}
	context.lineCap = dash.length ? "butt" : "square";
	context.setLineDash([]);
	context.strokeStyle = "rgb(0 0 0 / .55)";
	context.lineWidth = width + halo;
	if (halo) context.stroke();
	context.setLineDash(dash);
	context.strokeStyle = ink;
	context.lineWidth = width;
	context.stroke();
	context.setLineDash([]);
}
var outline = (y5, x3, h5 = 1, w5 = 1) => [[y5, x3, y5, x3 + w5], [y5, x3 + w5, y5 + h5, x3 + w5], [y5 + h5, x3 + w5, y5 + h5, x3], [y5 + h5, x3, y5, x3]];

// src/tour/scenes.ts
var OTHER = "#ffffff";
function paintScene(canvas2, width, data) {
	const [high, wide] = data.manifest.photo.input;
	const height = Math.round(Math.min(width * 1.3, width * (high / wide)));
	canvas2.style.height = `${height}px`;
	const context = pen(canvas2, width, height);
	const scenes = {
		photo: () => photo(context, data.seen, width, height, false),
		patches: () => zoomed(context, data, width, height),
		groups: () => grouped(context, data, data.groups, data.token, width, height),
		pair: () => pair2(context, data, width, height),
		merge: () => merged(context, data, width, height),
		stages: () => stages(context, data, width, height),
		answer: () => answer(context, data, width, height),
		cost: () => cost(context, data, width, height)
	};
	scenes[data.step.scene]();
}
function photo(context, image, width, height, smooth = true) {
	context.imageSmoothingEnabled = smooth;
	context.drawImage(image, 0, 0, width, height);
}
var blockOf = ({ manifest, step: step3 }) => manifest.blocks[step3.block];
function unitOf({ manifest: { photo: { input } } }, stride, width, height) {
	return [stride[0] / input[0] * height, stride[1] / input[1] * width];
}
function zoomed(context, data, width, height) {
	const { stride, spatial } = data.manifest.stages[0];
	lens(context, data, stride, spatial, 8, width, height);
}
function lens(context, { manifest, step: step3, shown }, stride, spatial, across, width, height) {
	const [rows, columns] = [Math.min(across, spatial[0]), Math.min(across, spatial[1])];
	const [y5, x3] = [rows, columns].map((n3, axis) => Math.max(0, Math.min(spatial[axis] - n3, Math.floor(step3.at[axis] * spatial[axis] - n3 / 2))));
	const [sy, sx] = [shown.height / manifest.photo.input[0], shown.width / manifest.photo.input[1]];
	context.imageSmoothingEnabled = true;
	context.drawImage(shown, x3 * stride[1] * sx, y5 * stride[0] * sy, columns * stride[1] * sx, rows * stride[0] * sy, 0, 0, width, height);
	const unit2 = [height / rows, width / columns];
	const lines3 = [];
	for (let v4 = 1; v4 < rows; v4++) lines3.push([v4, 0, v4, columns]);
	for (let h5 = 1; h5 < columns; h5++) lines3.push([0, h5, rows, h5]);
	strokeEdges(context, lines3, unit2, "rgb(255 255 255 / .85)", 1, [], 1);
	return unit2;
}
function visible(groups2, token) {
	const flags = new Uint8Array(groups2.rows * groups2.columns);
	const slot = groups2.slotOf[token];
	const start = Math.floor(slot / groups2.queriesPerGroup) * groups2.keysPerGroup;
	for (let key = start; key < start + groups2.keysPerGroup; key++) {
		const box = groups2.keys[key] >= 0 && sees(groups2, slot, key) ? boxOf(groups2, key) : null;
		if (box) for (let y5 = box[0]; y5 < box[2]; y5++) flags.fill(1, y5 * groups2.columns + box[1], y5 * groups2.columns + box[3]);
	}
	return flags;
}
function borders(groups2, name2, inside) {
	const edges = [];
	const at = (y5, x3) => y5 < 0 || x3 < 0 || y5 >= groups2.rows || x3 >= groups2.columns ? -1 : name2(y5 * groups2.columns + x3);
	for (let y5 = 0; y5 < groups2.rows; y5++) {
		for (let x3 = 0; x3 < groups2.columns; x3++) {
			if (!inside(y5 * groups2.columns + x3)) continue;
			if (at(y5 - 1, x3) !== at(y5, x3)) edges.push([y5, x3, y5, x3 + 1]);
			if (at(y5 + 1, x3) !== at(y5, x3)) edges.push([y5 + 1, x3, y5 + 1, x3 + 1]);
			if (at(y5, x3 - 1) !== at(y5, x3)) edges.push([y5, x3, y5 + 1, x3]);
			if (at(y5, x3 + 1) !== at(y5, x3)) edges.push([y5, x3 + 1, y5 + 1, x3 + 1]);
		}
	}
	return edges;
}
var groupOf = (groups2, cell2) => Math.floor(groups2.slotOf[groups2.prefix + cell2] / groups2.queriesPerGroup);
function grouped(context, data, groups2, token, width, height) {
	photo(context, data.shown, width, height);
	const unit2 = unitOf(data, blockOf(data).stride, width, height);
	const flags = visible(groups2, token);
	context.fillStyle = "rgb(12 10 18 / .55)";
	flags.forEach((flag, cell2) => {
		if (!flag) context.fillRect(cell2 % groups2.columns * unit2[1], Math.floor(cell2 / groups2.columns) * unit2[0], unit2[1] + 0.5, unit2[0] + 0.5);
	});
	const cut = borders(groups2, (cell2) => groupOf(groups2, cell2), () => true);
	if (cut.length < 3 * flags.length) strokeEdges(context, cut, unit2, "rgb(255 255 255 / .45)", 1, [], 0);
	strokeEdges(context, borders(groups2, (cell2) => flags[cell2], (cell2) => flags[cell2] > 0), unit2, "#fff", 2);
	mark(context, groups2, token, unit2, MARK);
}
function mark(context, groups2, token, unit2, ink) {
	if (token < groups2.prefix) return;
	const cell2 = token - groups2.prefix;
	const [y5, x3] = [Math.floor(cell2 / groups2.columns), cell2 % groups2.columns];
	const grow = Math.max(0, (9 / Math.min(...unit2) - 1) / 2);
	strokeEdges(context, outline(y5 - grow, x3 - grow, 1 + 2 * grow, 1 + 2 * grow), unit2, ink, 2.5);
}
function pair2(context, data, width, height) {
	const { quiz, groups: groups2, before, answered } = data;
	if (!quiz) return grouped(context, data, groups2, data.token, width, height);
	const unit2 = unitOf(data, blockOf(data).stride, width, height);
	if (answered) grouped(context, data, groups2, quiz.queryToken, width, height);
	else {
		photo(context, data.shown, width, height);
		const known3 = before ?? groups2;
		const cut = before ? borders(known3, (cell2) => groupOf(known3, cell2), () => true) : [];
		if (cut.length < 3 * known3.rows * known3.columns) strokeEdges(context, cut, unit2, "rgb(255 255 255 / .5)", 1, [], 0);
	}
	letter(context, groups2, quiz.queryToken, quiz.other, unit2, MARK, "A", width, height);
	letter(context, groups2, quiz.other, quiz.queryToken, unit2, OTHER, "B", width, height);
	return void 0;
}
function letter(context, groups2, token, away, unit2, ink, text, width, height) {
	mark(context, groups2, token, unit2, ink);
	const place = (of) => [Math.floor((of - groups2.prefix) / groups2.columns) + 0.5, (of - groups2.prefix) % groups2.columns + 0.5];
	const [[y5, x3], [v4, h5]] = [place(token), place(away)];
	const length = Math.hypot((y5 - v4) * unit2[0], (x3 - h5) * unit2[1]) || 1;
	const reach2 = Math.max(...unit2) / 2 + 15;
	const wanted = [x3 * unit2[1] + (x3 - h5) * unit2[1] * reach2 / length, y5 * unit2[0] + (y5 - v4) * unit2[0] * reach2 / length];
	const fits = wanted[0] > 10 && wanted[0] < width - 10 && wanted[1] > 10 && wanted[1] < height - 10;
	const inside = (n3, most) => Math.max(11, Math.min(most - 11, n3));
	const centre = fits ? [wanted[0], wanted[1]] : [inside(x3 * unit2[1], width), inside(y5 * unit2[0] + (y5 * unit2[0] < height / 2 ? reach2 : -reach2), height)];
	context.fillStyle = ink;
	context.strokeStyle = "rgb(0 0 0 / .6)";
	context.lineWidth = 1.5;
	context.beginPath();
	context.arc(...centre, 9.5, 0, 7);
	context.fill();
	context.stroke();
	context.fillStyle = "#1d1a24";
	context.font = "700 12px system-ui, sans-serif";
	context.textAlign = "center";
	context.textBaseline = "middle";
	context.fillText(text, centre[0], centre[1] + 0.5);
}
function merged(context, data, width, height) {
	const { stages: stages2, blocks } = data.manifest;
	const stage = stages2[blocks[data.step.block].stage];
	const factor2 = stage.merge?.factor ?? [1, 1];
	const before = stages2[blocks[data.step.block].stage - 1];
	const unit2 = lens(context, data, before.stride, before.spatial, 4 * factor2[1], width, height);
	const lines3 = [];
	const [rows, columns] = [Math.round(height / unit2[0]), Math.round(width / unit2[1])];
	for (let y6 = factor2[0]; y6 < rows; y6 += factor2[0]) lines3.push([y6, 0, y6, columns]);
	for (let x4 = factor2[1]; x4 < columns; x4 += factor2[1]) lines3.push([0, x4, rows, x4]);
	strokeEdges(context, lines3, unit2, "#fff", 2.5);
	const [y5, x3] = [rows, columns].map((n3, axis) => Math.floor(n3 / 2 / factor2[axis]) * factor2[axis]);
	strokeEdges(context, outline(y5, x3, factor2[0], factor2[1]), unit2, MARK, 3);
}
function stages(context, { manifest, shown }, width, height) {
	const many = Math.max(1, manifest.stages.length);
	const columns = Math.ceil(Math.sqrt(many));
	const rows = Math.ceil(many / columns);
	const [w5, h5] = [width / columns, height / rows];
	manifest.stages.forEach(({ spatial }, i4) => {
		const small = document.createElement("canvas");
		[small.width, small.height] = [spatial[1], spatial[0]];
		small.getContext("2d").drawImage(shown, 0, 0, spatial[1], spatial[0]);
		context.imageSmoothingEnabled = false;
		context.drawImage(small, i4 % columns * w5 + 1, Math.floor(i4 / columns) * h5 + 1, w5 - 2, h5 - 2);
	});
}
function answer(context, { features, seen }, width, height) {
	if (!features) return photo(context, seen, width, height, false);
	const small = document.createElement("canvas");
	[small.width, small.height] = [features.width, features.height];
	const inner = small.getContext("2d");
	const pixels2 = inner.createImageData(features.width, features.height);
	for (let i4 = 0; i4 < features.width * features.height; i4++) {
		for (let c4 = 0; c4 < 3; c4++) pixels2.data[4 * i4 + c4] = features.data[3 * i4 + c4];
		pixels2.data[4 * i4 + 3] = 255;
	}
	inner.putImageData(pixels2, 0, 0);
	context.imageSmoothingEnabled = false;
	context.drawImage(small, 0, 0, width, height);
	return void 0;
}
function cost(context, { manifest: { blocks } }, width, height) {
	const all = blocks.reduce((sum, { prefix, spatial }) => sum + (prefix + spatial[0] * spatial[1]) ** 2, 0);
	const part = Math.sqrt(Math.min(1, blocks.reduce((sum, { pairs }) => sum + pairs, 0) / all));
	const side = Math.min(width, height);
	const [x3, y5] = [(width - side) / 2, (height - side) / 2];
	context.fillStyle = "rgb(128 122 140 / .35)";
	context.fillRect(x3, y5, side, side);
	context.fillStyle = css([31, 158, 137]);
	context.fillRect(x3, y5 + side * (1 - part), side * part, side * part);
}

// src/tour/words.ts
var factor = (n3) => n3 >= 9.95 ? count(Math.round(n3)) : String(Number(n3.toFixed(1)));
function large(n3) {
	const steps = [[1e12, "trillion"], [1e9, "billion"], [1e6, "million"]];
	const found = steps.find(([limit]) => n3 >= limit);
	return found ? `${Number((n3 / found[0]).toPrecision(3))} ${found[1]}` : count(Math.round(n3));
}

// src/tour/steps.ts
var CENTRE = [0.46, 0.46];
var CORNER = [0.999, 0.999];
var rolls = (block) => block.cut !== null && block.cut.shift.some((n3) => n3 > 0);
var everyPair = (block) => (block.prefix + tokensOf(block)) ** 2;
function otherKind(manifest) {
	const [first, ...rest] = manifest.blocks;
	return first ? rest.findIndex((block) => block.title !== first.title) + 1 || -1 : -1;
}
function tourSteps(manifest) {
	const first = manifest.blocks[0];
	const last = manifest.blocks[manifest.blocks.length - 1];
	if (!first || !last) return [];
	const other = otherKind(manifest);
	return [
		photo2(manifest),
		patches(manifest, first),
		groups(first),
		...other > 0 ? [second(manifest, other)] : [],
		...other > 0 ? mask(manifest, other) : [],
		...merge(manifest),
		repeat(manifest, last),
		answer2(manifest, last),
		cost2(manifest)
	];
}
function step(id, name2, scene, block, view, text, more = {}) {
	return { id, name: name2, scene, block, text, at: CENTRE, quizKind: null, ...more, select: { view, block, head: -1, shift: 0, ...more.select } };
}
function photo2({ photo: { input }, answer: [best], model, blocks }) {
	const said = best ? `${model.name} calls it “${best.label}”, with ${share(best.probability)}${model.trained ? "" : " (untrained weights: a guess)"}. How does it get there?` : `${model.name} turns it into features. How?`;
	return step("image", "Image", "photo", 0, "canvas", `The photo is scaled and cropped to ${times(input)} pixels (height × width): all that the model sees. ${said} Follow it through ${plural(blocks.length, "block")}, on this very photo.`);
}
function patches({ model }, first) {
	const most = Math.max(...model.overlap);
	const around = most > 0 ? ` and the ${plural(most, "pixel")} around it` : "";
	return step("patches", "Patches", "patches", 0, "canvas", `The picture is cut into patches of ${times(model.patch)} pixels. Each becomes a token: a list of numbers computed from its pixels${around}. That makes a grid of ${times(first.spatial)} = ${plural(tokensOf(first), "token")}${first.prefix ? `, and ${plural(first.prefix, "prefix token")} beside it` : ""}.`);
}
function groups(first) {
	const all = everyPair(first);
	const pairs = first.pairs === all ? `That makes ${count(all)} pairs.` : `All with all would be ${count(all)} pairs; here there are ${count(first.pairs)}, ${factor(all / first.pairs)} times fewer.`;
	return step("groups", capital(first.title), "groups", 0, "canvas", `Attention lets a token fetch information from others. ${first.text} ${pairs}`);
}
function second({ blocks }, index) {
	const block = blocks[index];
	const before = blocks[0];
	const [text, name2] = rolls(block) && block.cut ? [`Windows alone would never talk to each other. So ${blockName(block)} moves the cut by ${times(block.cut.shift)} tokens: neighbours that a border parted share a window now. Roll the picture with the slider and watch.`, "Shift"] : [`Not every block is alike. In ${blockName(block)}: ${block.text}`, capital(block.title)];
	return step("shift", name2, "pair", index, "canvas", text, { quizKind: before.stage === block.stage ? "join" : null });
}
function mask({ blocks }, index) {
	const block = blocks[index];
	if (!rolls(block)) return [];
	return [step("mask", "Mask", "pair", index, "canvas", "To keep all windows the same size, the shifted picture is rolled: what leaves at the top left comes back at the bottom right. A window there is glued together from distant parts of the photo, so each part sees only itself. The hatched keys are masked: they get no weight at all.", { at: CORNER, quizKind: "part", select: { shift: 1 } })];
}
function merge({ stages: stages2 }) {
	const index = stages2.findIndex((stage2) => stage2.merge);
	const stage = stages2[index];
	if (!stage?.merge) return [];
	const { factor: by, before, after } = stage.merge;
	return [step("merge", "Merge", "merge", stage.blocks[0] ?? 0, "merge", `Between stages, ${times(by)} neighbours become one token: ${times(before)} turn into ${times(after)}. Each stands for ${times(stage.stride)} pixels now and is described by ${count(stage.dim)} numbers instead of ${count(stages2[index - 1]?.dim ?? 0)}. A token at its new place sees as many others as before, and so more of the photo.`)];
}
function repeat({ stages: stages2, reach: reach2, blocks }, last) {
	const grids = stages2.map((stage) => times(stage.spatial));
	const wide = reach2.flatMap(({ support: support2 }) => support2 ? [Math.max(support2[2] - support2[0], support2[3] - support2[1])] : []);
	const seen = wide.length ? ` The middle token can be reached by ${wide.map((n3) => `${Math.round(n3)}`).join(", then ")} pixels across.` : "";
	const text = stages2.length > 1 ? `Then the same again, stage by stage: ${grids.join(" → ")} tokens.${seen} Below, one last-stage token unfolds back to the pixels it can know of.` : `Then the same again: ${plural(blocks.length, "block")} on one grid of ${grids[0] ?? ""} tokens.${seen} Below, one token unfolds back to the pixels it can know of.`;
	return step("repeat", "Repeat", "stages", blocks.indexOf(last), "reach", text);
}
function answer2({ answer: [best], model, blocks, faithfulness }, last) {
	const pooled = {
		avg: `The ${plural(tokensOf(last), "token")} of the last block are averaged, and one last layer turns the average into a score for every class`,
		token: "The prefix token, which looked at them all, is taken alone, and one last layer turns it into a score for every class"
	}[model.pool] ?? `The last block leaves ${plural(tokensOf(last), "token")}, for others to use`;
	const said = best && model.pool ? `: “${best.label}” gets ${share(best.probability)}` : "";
	const trust = faithfulness ? " Which pixels support it? Maps make claims; below, the pixels that a map names are deleted first, to see whether the answer falls faster than by chance." : " Which pixels support it? Maps make claims; attention alone shows routing, not importance.";
	return step("class", model.classes ? "Class" : "Features", "answer", blocks.indexOf(last), "audit", `${pooled}${said}.${trust}`, {
		at: CENTRE,
		select: best ? { cls: best.class } : {}
	});
}
function cost2(manifest) {
	const all = manifest.blocks.reduce((sum, block) => sum + everyPair(block), 0);
	const pairs = manifest.blocks.reduce((sum, block) => sum + block.pairs, 0);
	const less = pairs < all ? `All with all in every block would weigh ${large(all)} pairs; this model weighs ${large(pairs)}, ${factor(all / pairs)} times fewer.` : `Every token weighs every other: ${large(pairs)} pairs.`;
	return step("cost", "Cost", "cost", 0, "cost", `${less}${growth(manifest)} Below, the same for other mechanisms, sizes and windows.`, { select: { metric: "pairs" } });
}
function growth({ cost: { sizes, mechanisms } }) {
	const own = mechanisms.find(({ id }) => id === "this");
	const from = sizes.findIndex((size) => sizes.includes(2 * size));
	const to = sizes.indexOf(2 * (sizes[from] ?? 0));
	const [few, many] = [own?.pairs[from], own?.pairs[to]];
	if (!few || !many) return "";
	return ` A picture twice as wide and high has 4 times the tokens; all with all grows 16 times, this model's pairs ${factor(many / few)} times.`;
}

// src/tour/tour.tsx
async function prepare(trace, step3) {
	const facts = trace.manifest.blocks[step3.block];
	const [groups2, before, seen, shown, rgb3] = await Promise.all([
		groupsOf(trace, step3.block),
		step3.quizKind ? groupsOf(trace, 0) : null,
		trace.image("seen"),
		trace.image("shown"),
		step3.scene === "answer" ? trace.array(facts.rgb) : null
	]);
	const quiz = step3.quizKind === "join" && before ? joinQuiz({ block: 0, groups: before }, { block: step3.block, groups: groups2 }) : step3.quizKind === "part" ? partQuiz({ block: step3.block, groups: groups2 }) : null;
	const fits = before && before.total === groups2.total ? before : null;
	return { step: step3, groups: groups2, before: fits, quiz, seen, shown, features: rgb3 && { height: rgb3.shape[0], width: rgb3.shape[1], data: rgb3.data } };
}
function Tour({ app }) {
	const trace = app.trace.value;
	const steps = w2(() => tourSteps(trace.manifest), [trace]);
	const at = Math.min(app.state.step.value, steps.length - 1);
	if (at < 0) {
		return a4("p", { class: "tour-closed", children: a4("button", { type: "button", "data-tour-start": true, onClick: () => {
			void go(app, steps, 0);
		}, children: [
			"Take the tour: ",
			plural(steps.length, "step")
		] }) });
	}
	return a4(Strip, { app, trace, steps, at });
}
async function go(app, steps, at, answered = /* @__PURE__ */ new Set()) {
	const step3 = steps[at];
	const trace = app.trace.value;
	app.state.step.value = at;
	app.say(`Step ${at + 1} of ${steps.length}, ${step3.name}. ${step3.text}`);
	const { quiz } = await prepare(trace, step3);
	if (app.state.step.value !== at || app.trace.value !== trace) return;
	assign(app.state, selection(trace, step3, quiz, !quiz || answered.has(step3.id)));
}
function selection(trace, step3, quiz, explained) {
	const { blocks, photo: photo3 } = trace.manifest;
	if (quiz && !explained) return { ...step3.select, block: 0, shift: 0, token: Math.min(quiz.queryToken, blocks[0].prefix + blocks[0].spatial[0] * blocks[0].spatial[1] - 1) };
	return { ...step3.select, token: quiz ? quiz.queryToken : tokenAt(blocks[step3.block], step3.at, photo3.input) };
}
function Strip({ app, trace, steps, at }) {
	const [answered, setAnswered] = d2(/* @__PURE__ */ new Set());
	const list = T2(null);
	const step3 = steps[at];
	const { value: ready } = useLoaded(() => prepare(trace, step3), [trace, step3]);
	const mine = ready?.step === step3 ? ready : null;
	const move = (to) => {
		if (to >= 0 && to < steps.length) void go(app, steps, to, answered);
	};
	A2(() => {
		if (at > 0 && app.host !== "notebook" && !/[#&](view|block)=/.test(location.hash)) move(at);
	}, []);
	A2(() => {
		const [row, chip] = [list.current, list.current?.children[at]];
		if (row && chip) row.scrollLeft = chip.offsetLeft - (row.clientWidth - chip.offsetWidth) / 2;
	}, [at]);
	const answer4 = () => {
		setAnswered(/* @__PURE__ */ new Set([...answered, step3.id]));
		if (mine?.quiz) assign(app.state, selection(trace, step3, mine.quiz, true));
	};
	const onKey = (event) => {
		if (event.altKey || event.ctrlKey || event.metaKey || event.defaultPrevented) return;
		const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: steps.length - 1 }[event.key];
		if (event.key === "Escape") app.state.step.value = -1;
		else if (to !== void 0) move(to);
		else return;
		event.preventDefault();
	};
	return a4("section", { class: "card tour", "aria-label": "Tour", "data-tour": true, "data-step": step3.id, onKeyDown: onKey, children: [
		a4("div", { class: "tour-top", children: [
			a4("ol", { class: "tour-steps", ref: list, children: steps.map(({ id, name: name2 }, i4) => a4("li", { children: a4("button", { type: "button", "data-tour-step": id, "aria-current": i4 === at ? "step" : void 0, onClick: () => move(i4), children: [
				a4("b", { "aria-hidden": "true", children: i4 + 1 }),
				a4("span", { children: name2 })
			] }) }, id)) }),
			a4("button", { type: "button", class: "tour-close", "aria-label": "Close the tour", onClick: () => {
				app.state.step.value = -1;
			}, children: "×" })
		] }),
		a4("div", { class: "tour-body", children: [
			a4("div", { class: "tour-scene", children: mine && a4(SceneCanvas, { trace, ready: mine, answered: answered.has(step3.id), token: tokenAt(trace.manifest.blocks[step3.block], step3.at, trace.manifest.photo.input) }) }),
			a4("div", { class: "tour-words", children: [
				mine?.quiz && a4(Question, { trace, step: step3, quiz: mine.quiz, answered: answered.has(step3.id), onAnswer: answer4, say: app.say }),
				!(step3.quizKind && (!mine || mine.quiz && !answered.has(step3.id))) && a4("p", { class: "tour-text", children: step3.text }),
				a4("div", { class: "tour-nav", children: [
					a4("button", { type: "button", disabled: at === 0, "data-tour-back": true, onClick: () => move(at - 1), children: "Back" }),
					a4("button", { type: "button", class: "main", disabled: at === steps.length - 1, "data-tour-next": true, onClick: () => move(at + 1), children: [
						"Next",
						at + 1 < steps.length ? `: ${steps[at + 1].name}` : ""
					] })
				] })
			] })
		] })
	] });
}
function SceneCanvas({ trace, ready, answered, token }) {
	const ref = usePaint((canvas2, width) => paintScene(canvas2, width, { manifest: trace.manifest, answered, token, ...ready }), [ready, answered]);
	return a4("canvas", { ref, "aria-hidden": "true" });
}
function Question({ trace, step: step3, quiz, answered, onAnswer, say: say2 }) {
	const [guess, setGuess] = d2(null);
	const right = may(quiz.bond);
	const explained = answer3(trace, quiz);
	const reply = (yes) => () => {
		setGuess({ step: step3.id, yes });
		say2(`${yes === right ? "Right." : "Not so."} ${explained}`);
		onAnswer();
	};
	const mine = guess?.step === step3.id ? guess : null;
	return a4("div", { class: "quiz", "data-quiz": quiz.quizKind, "data-query-token": quiz.queryToken, "data-other": quiz.other, "data-block": quiz.block, "data-answer": right ? "yes" : "no", children: [
		a4("p", { class: "question", children: question(trace, quiz) }),
		a4("p", { class: "replies", role: "group", "aria-label": "Your answer", children: [
			[true, false].map((yes) => a4("button", { type: "button", "data-reply": yes ? "yes" : "no", "aria-pressed": mine ? mine.yes === yes : false, onClick: reply(yes), children: yes ? "Yes" : "No" }, String(yes))),
			answered && a4("span", { class: "verdict", "data-verdict": true, children: [
				a4("b", { children: mine ? mine.yes === right ? "Right. " : "Not so. " : "" }),
				explained
			] })
		] })
	] });
}
function question({ manifest: { blocks } }, quiz) {
	const block = blocks[quiz.block];
	const kind = `block ${block.block + 1} (${block.title})`;
	if (quiz.quizKind === "part") return `In ${kind} the picture is rolled, so that one ${block.group ?? "group"} at its edge holds both A and B. May A look at B?`;
	const before = quiz.was && blocks[quiz.was.block];
	const was = before && quiz.was ? `In block ${before.block + 1} (${before.title}), A ${may(quiz.was.bond) ? "may" : "may not"} look at its neighbour B. ` : "";
	return `${was}May A look at B in ${kind}?`;
}
function answer3({ manifest: { blocks } }, { block: index, bond: bond2, cell: cell2, quizKind }) {
	const block = blocks[index];
	const group = block.group ?? "group";
	if (bond2 === "token") return quizKind === "join" ? `Yes: here B is among the keys of A's ${group}.` : `Yes: they share a ${group} and a part of the photo.`;
	if (bond2 === "pooled") return `Yes, but coarsely: through a key that stands for ${times(cell2 ?? [1, 1])} tokens.`;
	if (bond2 === "masked") return `No: they share a ${group} only because of the roll. They come from different parts of the photo, so A's weight on B is masked to zero.`;
	return `No: each lies in a ${group} of its own.`;
}

// src/leaks.ts
var [PADDING, WRAP] = [3, 4];
function leaks(trace) {
	return Promise.all(trace.manifest.blocks.map(async ({ stats }, block) => {
		const { data, shape: [heads2, columns] } = await trace.array(stats);
		const column = (at) => Array.from({ length: heads2 }, (_4, head) => Number(data[head * columns + at]));
		return { block, padding: column(PADDING), wrap: column(WRAP) };
	}));
}
async function sums(trace) {
	const result = { rows: 0, worst: 0 };
	for (const facts of trace.manifest.blocks) {
		if (!facts.mean) continue;
		const [{ data: codes }, { data: queries }, slots] = await Promise.all([
			trace.array(facts.mean),
			trace.array(facts.queries),
			facts.chosen === null ? null : trace.array(facts.chosen)
		]);
		const stored = slots ? Array.from(slots.data) : Array.from(queries, (_4, slot) => slot);
		stored.forEach((slot, place) => {
			if (queries[slot] < 0) return;
			const sum = decodeRow(codes, place * facts.keys_per_group, facts.keys_per_group).reduce((total, p5) => total + p5, 0);
			result.rows += 1;
			result.worst = Math.max(result.worst, Math.abs(sum - 1));
		});
		await new Promise((done) => setTimeout(done));
	}
	return result;
}

// src/python.ts
function prelude(app) {
	const { python } = app.trace.value.manifest;
	const model = /^import vitrail$/m.test(python.model) ? python.model : `import vitrail
${python.model}`;
	return [
		model,
		python.photo,
		`report = vitrail.explore(model, photo, size=(${python.size.join(", ")}))`,
		"trace = report.trace"
	].join("\n");
}
function placeText(app, token = app.state.token.value) {
	const block = app.trace.value.manifest.blocks[app.state.block.value];
	const at = token - block.prefix;
	return at < 0 ? String(token) : `(${Math.floor(at / block.spatial[1])}, ${at % block.spatial[1]})`;
}
function rowCode(app) {
	const { state } = app;
	const block = app.trace.value.manifest.blocks[state.block.value];
	const place = placeText(app);
	const head = state.head.value < 0 ? "None" : String(state.head.value);
	return [
		prelude(app),
		`block = trace.blocks[${state.block.value}]  # ${block.name}: ${block.title}`,
		`row = block.row(${place}, head=${head})  # one weight for each key of the group, in order; sums to 1`,
		`grid = block.attends(${place}, head=${head})  # the same at their places in the photo`
	].join("\n");
}

// src/scores.ts
var titleOf = ({ methods }, id) => methods.find((method) => method.id === id)?.title ?? ({ random: "Random order", centre: "Centre first" }[id] ?? id);
function scores(manifest) {
	const found = manifest.faithfulness;
	if (!found) return [];
	const own = found.curves.map(({ method, deletion, insertion }) => ({ id: method, title: titleOf(manifest, method), deletion, insertion }));
	return [
		...own,
		{ id: "centre", title: "Centre first", deletion: found.centre.deletion, insertion: found.centre.insertion },
		{ id: "random", title: "Random order", deletion: found.random.deletion, insertion: found.random.insertion }
	];
}
function verdict(manifest, method) {
	const found = manifest.faithfulness;
	const score = found?.curves.find((curve) => curve.method === method);
	if (!found || !score) return null;
	const deletion = score.deletion < found.random.deletion;
	const insertion = score.insertion > found.random.insertion;
	const words = deletion && insertion ? "better than random orders, both ways, on this image" : deletion ? "better than random orders at deleting, not at inserting, on this image" : insertion ? "better than random orders at inserting, not at deleting, on this image" : "no better than random orders on this image";
	const centre = score.deletion < found.centre.deletion && score.insertion > found.centre.insertion;
	return { deletion, insertion, words: `${words}${centre ? ", and better than the centre outwards" : "; not better than the centre outwards, where photos have their subject"}` };
}
async function curves(trace) {
	const { manifest } = trace;
	const found = manifest.faithfulness;
	if (!found) return null;
	const read2 = async (id, array2) => {
		const { data, shape: shape2 } = await trace.array(array2);
		const steps = shape2[1];
		const points = (row) => found.steps.slice(0, steps).map((share2, i4) => [share2, Number(data[row * steps + i4])]);
		return { id, title: titleOf(manifest, id), deletion: points(0), insertion: points(1) };
	};
	const [random, low, high, centre, ...methods] = await Promise.all([
		read2("random", found.random.array),
		read2("low", found.random.low),
		read2("high", found.random.high),
		read2("centre", found.centre.array),
		...found.curves.map(({ method, array: array2 }) => read2(method, array2))
	]);
	return { methods, random, low, high, centre };
}

// node_modules/d3-array/dist/d3-array.mjs
function ascending(a5, b4) {
	return a5 == null || b4 == null ? NaN : a5 < b4 ? -1 : a5 > b4 ? 1 : a5 >= b4 ? 0 : NaN;
}
function descending(a5, b4) {
	return a5 == null || b4 == null ? NaN : b4 < a5 ? -1 : b4 > a5 ? 1 : b4 >= a5 ? 0 : NaN;
}
function bisector(f5) {
	let compare1, compare2, delta;
	if (f5.length !== 2) {
		compare1 = ascending;
		compare2 = (d5, x3) => ascending(f5(d5), x3);
		delta = (d5, x3) => f5(d5) - x3;
	} else {
		compare1 = f5 === ascending || f5 === descending ? f5 : zero;
		compare2 = f5;
		delta = f5;
	}
	function left(a5, x3, lo = 0, hi = a5.length) {
		if (lo < hi) {
			if (compare1(x3, x3) !== 0) return hi;
			do {
				const mid = lo + hi >>> 1;
				if (compare2(a5[mid], x3) < 0) lo = mid + 1;
				else hi = mid;
			} while (lo < hi);
		}
		return lo;
	}
	function right(a5, x3, lo = 0, hi = a5.length) {
		if (lo < hi) {
			if (compare1(x3, x3) !== 0) return hi;
			do {
				const mid = lo + hi >>> 1;
				if (compare2(a5[mid], x3) <= 0) lo = mid + 1;
				else hi = mid;
			} while (lo < hi);
		}
		return lo;
	}
	function center(a5, x3, lo = 0, hi = a5.length) {
		const i4 = left(a5, x3, lo, hi - 1);
		return i4 > lo && delta(a5[i4 - 1], x3) > -delta(a5[i4], x3) ? i4 - 1 : i4;
	}
	return { left, center, right };
}
function zero() {
	return 0;
}
function number(x3) {
	return x3 === null ? NaN : +x3;
}
var ascendingBisect = bisector(ascending);
var bisectRight = ascendingBisect.right;
var bisectLeft = ascendingBisect.left;
var bisectCenter = bisector(number).center;
var blur2 = Blur2(blurf);
var blurImage = Blur2(blurfImage);
function Blur2(blur) {
	return function(data, rx, ry = rx) {
		if (!((rx = +rx) >= 0)) throw new RangeError("invalid rx");
		if (!((ry = +ry) >= 0)) throw new RangeError("invalid ry");
		let { data: values, width, height } = data;
		if (!((width = Math.floor(width)) >= 0)) throw new RangeError("invalid width");
		if (!((height = Math.floor(height !== void 0 ? height : values.length / width)) >= 0)) throw new RangeError("invalid height");
		if (!width || !height || !rx && !ry) return data;
		const blurx = rx && blur(rx);
		const blury = ry && blur(ry);
		const temp = values.slice();
		if (blurx && blury) {
			blurh(blurx, temp, values, width, height);
			blurh(blurx, values, temp, width, height);
			blurh(blurx, temp, values, width, height);
			blurv(blury, values, temp, width, height);
			blurv(blury, temp, values, width, height);
			blurv(blury, values, temp, width, height);
		} else if (blurx) {
			blurh(blurx, values, temp, width, height);
			blurh(blurx, temp, values, width, height);
			blurh(blurx, values, temp, width, height);
		} else if (blury) {
			blurv(blury, values, temp, width, height);
			blurv(blury, temp, values, width, height);
			blurv(blury, values, temp, width, height);
		}
		return data;
	};
}
function blurh(blur, T4, S3, w5, h5) {
	for (let y5 = 0, n3 = w5 * h5; y5 < n3; ) {
		blur(T4, S3, y5, y5 += w5, 1);
	}
}
function blurv(blur, T4, S3, w5, h5) {
	for (let x3 = 0, n3 = w5 * h5; x3 < w5; ++x3) {
		blur(T4, S3, x3, x3 + n3, w5);
	}
}
function blurfImage(radius) {
	const blur = blurf(radius);
	return (T4, S3, start, stop, step3) => {
		start <<= 2, stop <<= 2, step3 <<= 2;
		blur(T4, S3, start + 0, stop + 0, step3);
		blur(T4, S3, start + 1, stop + 1, step3);
		blur(T4, S3, start + 2, stop + 2, step3);
		blur(T4, S3, start + 3, stop + 3, step3);
	};
}
function blurf(radius) {
	const radius0 = Math.floor(radius);
	if (radius0 === radius) return bluri(radius);
	const t4 = radius - radius0;
	const w5 = 2 * radius + 1;
	return (T4, S3, start, stop, step3) => {
		if (!((stop -= step3) >= start)) return;
		let sum = radius0 * S3[start];
		const s0 = step3 * radius0;
		const s1 = s0 + step3;
		for (let i4 = start, j3 = start + s0; i4 < j3; i4 += step3) {
			sum += S3[Math.min(stop, i4)];
		}
		for (let i4 = start, j3 = stop; i4 <= j3; i4 += step3) {
			sum += S3[Math.min(stop, i4 + s0)];
			T4[i4] = (sum + t4 * (S3[Math.max(start, i4 - s1)] + S3[Math.min(stop, i4 + s1)])) / w5;
			sum -= S3[Math.max(start, i4 - s0)];
		}
	};
}
function bluri(radius) {
	const w5 = 2 * radius + 1;
	return (T4, S3, start, stop, step3) => {
		if (!((stop -= step3) >= start)) return;
		let sum = radius * S3[start];
		const s4 = step3 * radius;
		for (let i4 = start, j3 = start + s4; i4 < j3; i4 += step3) {
			sum += S3[Math.min(stop, i4)];
		}
		for (let i4 = start, j3 = stop; i4 <= j3; i4 += step3) {
			sum += S3[Math.min(stop, i4 + s4)];
			T4[i4] = sum / w5;
			sum -= S3[Math.max(start, i4 - s4)];
		}
	};
}
var array = Array.prototype;
var slice = array.slice;
var e10 = Math.sqrt(50);
var e5 = Math.sqrt(10);
var e22 = Math.sqrt(2);
function tickSpec(start, stop, count2) {
	const step3 = (stop - start) / Math.max(0, count2), power = Math.floor(Math.log10(step3)), error = step3 / Math.pow(10, power), factor2 = error >= e10 ? 10 : error >= e5 ? 5 : error >= e22 ? 2 : 1;
	let i1, i22, inc;
	if (power < 0) {
		inc = Math.pow(10, -power) / factor2;
		i1 = Math.round(start * inc);
		i22 = Math.round(stop * inc);
		if (i1 / inc < start) ++i1;
		if (i22 / inc > stop) --i22;
		inc = -inc;
	} else {
		inc = Math.pow(10, power) * factor2;
		i1 = Math.round(start / inc);
		i22 = Math.round(stop / inc);
		if (i1 * inc < start) ++i1;
		if (i22 * inc > stop) --i22;
	}
	if (i22 < i1 && 0.5 <= count2 && count2 < 2) return tickSpec(start, stop, count2 * 2);
	return [i1, i22, inc];
}
function ticks(start, stop, count2) {
	stop = +stop, start = +start, count2 = +count2;
	if (!(count2 > 0)) return [];
	if (start === stop) return [start];
	const reverse = stop < start, [i1, i22, inc] = reverse ? tickSpec(stop, start, count2) : tickSpec(start, stop, count2);
	if (!(i22 >= i1)) return [];
	const n3 = i22 - i1 + 1, ticks2 = new Array(n3);
	if (reverse) {
		if (inc < 0) for (let i4 = 0; i4 < n3; ++i4) ticks2[i4] = (i22 - i4) / -inc;
		else for (let i4 = 0; i4 < n3; ++i4) ticks2[i4] = (i22 - i4) * inc;
	} else {
		if (inc < 0) for (let i4 = 0; i4 < n3; ++i4) ticks2[i4] = (i1 + i4) / -inc;
		else for (let i4 = 0; i4 < n3; ++i4) ticks2[i4] = (i1 + i4) * inc;
	}
	return ticks2;
}
function tickIncrement(start, stop, count2) {
	stop = +stop, start = +start, count2 = +count2;
	return tickSpec(start, stop, count2)[2];
}
function tickStep(start, stop, count2) {
	stop = +stop, start = +start, count2 = +count2;
	const reverse = stop < start, inc = reverse ? tickIncrement(stop, start, count2) : tickIncrement(start, stop, count2);
	return (reverse ? -1 : 1) * (inc < 0 ? 1 / -inc : inc);
}
var shuffle = shuffler(Math.random);
function shuffler(random) {
	return function shuffle2(array2, i0 = 0, i1 = array2.length) {
		let m5 = i1 - (i0 = +i0);
		while (m5) {
			const i4 = random() * m5-- | 0, t4 = array2[m5 + i0];
			array2[m5 + i0] = array2[i4 + i0];
			array2[i4 + i0] = t4;
		}
		return array2;
	};
}

// node_modules/d3-scale/src/init.js
function initRange(domain, range) {
	switch (arguments.length) {
		case 0:
			break;
		case 1:
			this.range(domain);
			break;
		default:
			this.range(range).domain(domain);
			break;
	}
	return this;
}

// node_modules/d3-color/dist/d3-color.mjs
function define(constructor, factory, prototype) {
	constructor.prototype = factory.prototype = prototype;
	prototype.constructor = constructor;
}
function extend(parent, definition) {
	var prototype = Object.create(parent.prototype);
	for (var key in definition) prototype[key] = definition[key];
	return prototype;
}
function Color() {
}
var darker = 0.7;
var brighter = 1 / darker;
var reI = "\\s*([+-]?\\d+)\\s*";
var reN = "\\s*([+-]?(?:\\d*\\.)?\\d+(?:[eE][+-]?\\d+)?)\\s*";
var reP = "\\s*([+-]?(?:\\d*\\.)?\\d+(?:[eE][+-]?\\d+)?)%\\s*";
var reHex = /^#([0-9a-f]{3,8})$/;
var reRgbInteger = new RegExp(`^rgb\\(${reI},${reI},${reI}\\)$`);
var reRgbPercent = new RegExp(`^rgb\\(${reP},${reP},${reP}\\)$`);
var reRgbaInteger = new RegExp(`^rgba\\(${reI},${reI},${reI},${reN}\\)$`);
var reRgbaPercent = new RegExp(`^rgba\\(${reP},${reP},${reP},${reN}\\)$`);
var reHslPercent = new RegExp(`^hsl\\(${reN},${reP},${reP}\\)$`);
var reHslaPercent = new RegExp(`^hsla\\(${reN},${reP},${reP},${reN}\\)$`);
var named = {
	aliceblue: 15792383,
	antiquewhite: 16444375,
	aqua: 65535,
	aquamarine: 8388564,
	azure: 15794175,
	beige: 16119260,
	bisque: 16770244,
	black: 0,
	blanchedalmond: 16772045,
	blue: 255,
	blueviolet: 9055202,
	brown: 10824234,
	burlywood: 14596231,
	cadetblue: 6266528,
	chartreuse: 8388352,
	chocolate: 13789470,
	coral: 16744272,
	cornflowerblue: 6591981,
	cornsilk: 16775388,
	crimson: 14423100,
	cyan: 65535,
	darkblue: 139,
	darkcyan: 35723,
	darkgoldenrod: 12092939,
	darkgray: 11119017,
	darkgreen: 25600,
	darkgrey: 11119017,
	darkkhaki: 12433259,
	darkmagenta: 9109643,
	darkolivegreen: 5597999,
	darkorange: 16747520,
	darkorchid: 10040012,
	darkred: 9109504,
	darksalmon: 15308410,
	darkseagreen: 9419919,
	darkslateblue: 4734347,
	darkslategray: 3100495,
	darkslategrey: 3100495,
	darkturquoise: 52945,
	darkviolet: 9699539,
	deeppink: 16716947,
	deepskyblue: 49151,
	dimgray: 6908265,
	dimgrey: 6908265,
	dodgerblue: 2003199,
	firebrick: 11674146,
	floralwhite: 16775920,
	forestgreen: 2263842,
	fuchsia: 16711935,
	gainsboro: 14474460,
	ghostwhite: 16316671,
	gold: 16766720,
	goldenrod: 14329120,
	gray: 8421504,
	green: 32768,
	greenyellow: 11403055,
	grey: 8421504,
	honeydew: 15794160,
	hotpink: 16738740,
	indianred: 13458524,
	indigo: 4915330,
	ivory: 16777200,
	khaki: 15787660,
	lavender: 15132410,
	lavenderblush: 16773365,
	lawngreen: 8190976,
	lemonchiffon: 16775885,
	lightblue: 11393254,
	lightcoral: 15761536,
	lightcyan: 14745599,
	lightgoldenrodyellow: 16448210,
	lightgray: 13882323,
	lightgreen: 9498256,
	lightgrey: 13882323,
	lightpink: 16758465,
	lightsalmon: 16752762,
	lightseagreen: 2142890,
	lightskyblue: 8900346,
	lightslategray: 7833753,
	lightslategrey: 7833753,
	lightsteelblue: 11584734,
	lightyellow: 16777184,
	lime: 65280,
	limegreen: 3329330,
	linen: 16445670,
	magenta: 16711935,
	maroon: 8388608,
	mediumaquamarine: 6737322,
	mediumblue: 205,
	mediumorchid: 12211667,
	mediumpurple: 9662683,
	mediumseagreen: 3978097,
	mediumslateblue: 8087790,
	mediumspringgreen: 64154,
	mediumturquoise: 4772300,
	mediumvioletred: 13047173,
	midnightblue: 1644912,
	mintcream: 16121850,
	mistyrose: 16770273,
	moccasin: 16770229,
	navajowhite: 16768685,
	navy: 128,
	oldlace: 16643558,
	olive: 8421376,
	olivedrab: 7048739,
	orange: 16753920,
	orangered: 16729344,
	orchid: 14315734,
	palegoldenrod: 15657130,
	palegreen: 10025880,
	paleturquoise: 11529966,
	palevioletred: 14381203,
	papayawhip: 16773077,
	peachpuff: 16767673,
	peru: 13468991,
	pink: 16761035,
	plum: 14524637,
	powderblue: 11591910,
	purple: 8388736,
	rebeccapurple: 6697881,
	red: 16711680,
	rosybrown: 12357519,
	royalblue: 4286945,
	saddlebrown: 9127187,
	salmon: 16416882,
	sandybrown: 16032864,
	seagreen: 3050327,
	seashell: 16774638,
	sienna: 10506797,
	silver: 12632256,
	skyblue: 8900331,
	slateblue: 6970061,
	slategray: 7372944,
	slategrey: 7372944,
	snow: 16775930,
	springgreen: 65407,
	steelblue: 4620980,
	tan: 13808780,
	teal: 32896,
	thistle: 14204888,
	tomato: 16737095,
	turquoise: 4251856,
	violet: 15631086,
	wheat: 16113331,
	white: 16777215,
	whitesmoke: 16119285,
	yellow: 16776960,
	yellowgreen: 10145074
};
define(Color, color, {
	copy(channels) {
		return Object.assign(new this.constructor(), this, channels);
	},
	displayable() {
		return this.rgb().displayable();
	},
	hex: color_formatHex,
	// Deprecated! Use color.formatHex.
	formatHex: color_formatHex,
	formatHex8: color_formatHex8,
	formatHsl: color_formatHsl,
	formatRgb: color_formatRgb,
	toString: color_formatRgb
});
function color_formatHex() {
	return this.rgb().formatHex();
}
function color_formatHex8() {
	return this.rgb().formatHex8();
}
function color_formatHsl() {
	return hslConvert(this).formatHsl();
}
function color_formatRgb() {
	return this.rgb().formatRgb();
}
function color(format2) {
	var m5, l4;
	format2 = (format2 + "").trim().toLowerCase();
	return (m5 = reHex.exec(format2)) ? (l4 = m5[1].length, m5 = parseInt(m5[1], 16), l4 === 6 ? rgbn(m5) : l4 === 3 ? new Rgb(m5 >> 8 & 15 | m5 >> 4 & 240, m5 >> 4 & 15 | m5 & 240, (m5 & 15) << 4 | m5 & 15, 1) : l4 === 8 ? rgba(m5 >> 24 & 255, m5 >> 16 & 255, m5 >> 8 & 255, (m5 & 255) / 255) : l4 === 4 ? rgba(m5 >> 12 & 15 | m5 >> 8 & 240, m5 >> 8 & 15 | m5 >> 4 & 240, m5 >> 4 & 15 | m5 & 240, ((m5 & 15) << 4 | m5 & 15) / 255) : null) : (m5 = reRgbInteger.exec(format2)) ? new Rgb(m5[1], m5[2], m5[3], 1) : (m5 = reRgbPercent.exec(format2)) ? new Rgb(m5[1] * 255 / 100, m5[2] * 255 / 100, m5[3] * 255 / 100, 1) : (m5 = reRgbaInteger.exec(format2)) ? rgba(m5[1], m5[2], m5[3], m5[4]) : (m5 = reRgbaPercent.exec(format2)) ? rgba(m5[1] * 255 / 100, m5[2] * 255 / 100, m5[3] * 255 / 100, m5[4]) : (m5 = reHslPercent.exec(format2)) ? hsla(m5[1], m5[2] / 100, m5[3] / 100, 1) : (m5 = reHslaPercent.exec(format2)) ? hsla(m5[1], m5[2] / 100, m5[3] / 100, m5[4]) : named.hasOwnProperty(format2) ? rgbn(named[format2]) : format2 === "transparent" ? new Rgb(NaN, NaN, NaN, 0) : null;
}
function rgbn(n3) {
	return new Rgb(n3 >> 16 & 255, n3 >> 8 & 255, n3 & 255, 1);
}
function rgba(r4, g5, b4, a5) {
	if (a5 <= 0) r4 = g5 = b4 = NaN;
	return new Rgb(r4, g5, b4, a5);
}
function rgbConvert(o5) {
	if (!(o5 instanceof Color)) o5 = color(o5);
	if (!o5) return new Rgb();
	o5 = o5.rgb();
	return new Rgb(o5.r, o5.g, o5.b, o5.opacity);
}
function rgb(r4, g5, b4, opacity) {
	return arguments.length === 1 ? rgbConvert(r4) : new Rgb(r4, g5, b4, opacity == null ? 1 : opacity);
}
function Rgb(r4, g5, b4, opacity) {
	this.r = +r4;
	this.g = +g5;
	this.b = +b4;
	this.opacity = +opacity;
}
define(Rgb, rgb, extend(Color, {
	brighter(k4) {
		k4 = k4 == null ? brighter : Math.pow(brighter, k4);
		return new Rgb(this.r * k4, this.g * k4, this.b * k4, this.opacity);
	},
	darker(k4) {
		k4 = k4 == null ? darker : Math.pow(darker, k4);
		return new Rgb(this.r * k4, this.g * k4, this.b * k4, this.opacity);
	},
	rgb() {
		return this;
	},
	clamp() {
		return new Rgb(clampi(this.r), clampi(this.g), clampi(this.b), clampa(this.opacity));
	},
	displayable() {
		return -0.5 <= this.r && this.r < 255.5 && (-0.5 <= this.g && this.g < 255.5) && (-0.5 <= this.b && this.b < 255.5) && (0 <= this.opacity && this.opacity <= 1);
	},
	hex: rgb_formatHex,
	// Deprecated! Use color.formatHex.
	formatHex: rgb_formatHex,
	formatHex8: rgb_formatHex8,
	formatRgb: rgb_formatRgb,
	toString: rgb_formatRgb
}));
function rgb_formatHex() {
	return `#${hex(this.r)}${hex(this.g)}${hex(this.b)}`;
}
function rgb_formatHex8() {
	return `#${hex(this.r)}${hex(this.g)}${hex(this.b)}${hex((isNaN(this.opacity) ? 1 : this.opacity) * 255)}`;
}
function rgb_formatRgb() {
	const a5 = clampa(this.opacity);
	return `${a5 === 1 ? "rgb(" : "rgba("}${clampi(this.r)}, ${clampi(this.g)}, ${clampi(this.b)}${a5 === 1 ? ")" : `, ${a5})`}`;
}
function clampa(opacity) {
	return isNaN(opacity) ? 1 : Math.max(0, Math.min(1, opacity));
}
function clampi(value2) {
	return Math.max(0, Math.min(255, Math.round(value2) || 0));
}
function hex(value2) {
	value2 = clampi(value2);
	return (value2 < 16 ? "0" : "") + value2.toString(16);
}
function hsla(h5, s4, l4, a5) {
	if (a5 <= 0) h5 = s4 = l4 = NaN;
	else if (l4 <= 0 || l4 >= 1) h5 = s4 = NaN;
	else if (s4 <= 0) h5 = NaN;
	return new Hsl(h5, s4, l4, a5);
}
function hslConvert(o5) {
	if (o5 instanceof Hsl) return new Hsl(o5.h, o5.s, o5.l, o5.opacity);
	if (!(o5 instanceof Color)) o5 = color(o5);
	if (!o5) return new Hsl();
	if (o5 instanceof Hsl) return o5;
	o5 = o5.rgb();
	var r4 = o5.r / 255, g5 = o5.g / 255, b4 = o5.b / 255, min = Math.min(r4, g5, b4), max = Math.max(r4, g5, b4), h5 = NaN, s4 = max - min, l4 = (max + min) / 2;
	if (s4) {
		if (r4 === max) h5 = (g5 - b4) / s4 + (g5 < b4) * 6;
		else if (g5 === max) h5 = (b4 - r4) / s4 + 2;
		else h5 = (r4 - g5) / s4 + 4;
		s4 /= l4 < 0.5 ? max + min : 2 - max - min;
		h5 *= 60;
	} else {
		s4 = l4 > 0 && l4 < 1 ? 0 : h5;
	}
	return new Hsl(h5, s4, l4, o5.opacity);
}
function hsl(h5, s4, l4, opacity) {
	return arguments.length === 1 ? hslConvert(h5) : new Hsl(h5, s4, l4, opacity == null ? 1 : opacity);
}
function Hsl(h5, s4, l4, opacity) {
	this.h = +h5;
	this.s = +s4;
	this.l = +l4;
	this.opacity = +opacity;
}
define(Hsl, hsl, extend(Color, {
	brighter(k4) {
		k4 = k4 == null ? brighter : Math.pow(brighter, k4);
		return new Hsl(this.h, this.s, this.l * k4, this.opacity);
	},
	darker(k4) {
		k4 = k4 == null ? darker : Math.pow(darker, k4);
		return new Hsl(this.h, this.s, this.l * k4, this.opacity);
	},
	rgb() {
		var h5 = this.h % 360 + (this.h < 0) * 360, s4 = isNaN(h5) || isNaN(this.s) ? 0 : this.s, l4 = this.l, m22 = l4 + (l4 < 0.5 ? l4 : 1 - l4) * s4, m1 = 2 * l4 - m22;
		return new Rgb(
			hsl2rgb(h5 >= 240 ? h5 - 240 : h5 + 120, m1, m22),
			hsl2rgb(h5, m1, m22),
			hsl2rgb(h5 < 120 ? h5 + 240 : h5 - 120, m1, m22),
			this.opacity
		);
	},
	clamp() {
		return new Hsl(clamph(this.h), clampt(this.s), clampt(this.l), clampa(this.opacity));
	},
	displayable() {
		return (0 <= this.s && this.s <= 1 || isNaN(this.s)) && (0 <= this.l && this.l <= 1) && (0 <= this.opacity && this.opacity <= 1);
	},
	formatHsl() {
		const a5 = clampa(this.opacity);
		return `${a5 === 1 ? "hsl(" : "hsla("}${clamph(this.h)}, ${clampt(this.s) * 100}%, ${clampt(this.l) * 100}%${a5 === 1 ? ")" : `, ${a5})`}`;
	}
}));
function clamph(value2) {
	value2 = (value2 || 0) % 360;
	return value2 < 0 ? value2 + 360 : value2;
}
function clampt(value2) {
	return Math.max(0, Math.min(1, value2 || 0));
}
function hsl2rgb(h5, m1, m22) {
	return (h5 < 60 ? m1 + (m22 - m1) * h5 / 60 : h5 < 180 ? m22 : h5 < 240 ? m1 + (m22 - m1) * (240 - h5) / 60 : m1) * 255;
}
var radians = Math.PI / 180;
var degrees = 180 / Math.PI;
var K2 = 18;
var Xn = 0.96422;
var Yn = 1;
var Zn = 0.82521;
var t0 = 4 / 29;
var t1 = 6 / 29;
var t22 = 3 * t1 * t1;
var t32 = t1 * t1 * t1;
function labConvert(o5) {
	if (o5 instanceof Lab) return new Lab(o5.l, o5.a, o5.b, o5.opacity);
	if (o5 instanceof Hcl) return hcl2lab(o5);
	if (!(o5 instanceof Rgb)) o5 = rgbConvert(o5);
	var r4 = rgb2lrgb(o5.r), g5 = rgb2lrgb(o5.g), b4 = rgb2lrgb(o5.b), y5 = xyz2lab((0.2225045 * r4 + 0.7168786 * g5 + 0.0606169 * b4) / Yn), x3, z3;
	if (r4 === g5 && g5 === b4) x3 = z3 = y5;
	else {
		x3 = xyz2lab((0.4360747 * r4 + 0.3850649 * g5 + 0.1430804 * b4) / Xn);
		z3 = xyz2lab((0.0139322 * r4 + 0.0971045 * g5 + 0.7141733 * b4) / Zn);
	}
	return new Lab(116 * y5 - 16, 500 * (x3 - y5), 200 * (y5 - z3), o5.opacity);
}
function lab(l4, a5, b4, opacity) {
	return arguments.length === 1 ? labConvert(l4) : new Lab(l4, a5, b4, opacity == null ? 1 : opacity);
}
function Lab(l4, a5, b4, opacity) {
	this.l = +l4;
	this.a = +a5;
	this.b = +b4;
	this.opacity = +opacity;
}
define(Lab, lab, extend(Color, {
	brighter(k4) {
		return new Lab(this.l + K2 * (k4 == null ? 1 : k4), this.a, this.b, this.opacity);
	},
	darker(k4) {
		return new Lab(this.l - K2 * (k4 == null ? 1 : k4), this.a, this.b, this.opacity);
	},
	rgb() {
		var y5 = (this.l + 16) / 116, x3 = isNaN(this.a) ? y5 : y5 + this.a / 500, z3 = isNaN(this.b) ? y5 : y5 - this.b / 200;
		x3 = Xn * lab2xyz(x3);
		y5 = Yn * lab2xyz(y5);
		z3 = Zn * lab2xyz(z3);
		return new Rgb(
			lrgb2rgb(3.1338561 * x3 - 1.6168667 * y5 - 0.4906146 * z3),
			lrgb2rgb(-0.9787684 * x3 + 1.9161415 * y5 + 0.033454 * z3),
			lrgb2rgb(0.0719453 * x3 - 0.2289914 * y5 + 1.4052427 * z3),
			this.opacity
		);
	}
}));
function xyz2lab(t4) {
	return t4 > t32 ? Math.pow(t4, 1 / 3) : t4 / t22 + t0;
}
function lab2xyz(t4) {
	return t4 > t1 ? t4 * t4 * t4 : t22 * (t4 - t0);
}
function lrgb2rgb(x3) {
	return 255 * (x3 <= 31308e-7 ? 12.92 * x3 : 1.055 * Math.pow(x3, 1 / 2.4) - 0.055);
}
function rgb2lrgb(x3) {
	return (x3 /= 255) <= 0.04045 ? x3 / 12.92 : Math.pow((x3 + 0.055) / 1.055, 2.4);
}
function hclConvert(o5) {
	if (o5 instanceof Hcl) return new Hcl(o5.h, o5.c, o5.l, o5.opacity);
	if (!(o5 instanceof Lab)) o5 = labConvert(o5);
	if (o5.a === 0 && o5.b === 0) return new Hcl(NaN, 0 < o5.l && o5.l < 100 ? 0 : NaN, o5.l, o5.opacity);
	var h5 = Math.atan2(o5.b, o5.a) * degrees;
	return new Hcl(h5 < 0 ? h5 + 360 : h5, Math.sqrt(o5.a * o5.a + o5.b * o5.b), o5.l, o5.opacity);
}
function hcl(h5, c4, l4, opacity) {
	return arguments.length === 1 ? hclConvert(h5) : new Hcl(h5, c4, l4, opacity == null ? 1 : opacity);
}
function Hcl(h5, c4, l4, opacity) {
	this.h = +h5;
	this.c = +c4;
	this.l = +l4;
	this.opacity = +opacity;
}
function hcl2lab(o5) {
	if (isNaN(o5.h)) return new Lab(o5.l, 0, 0, o5.opacity);
	var h5 = o5.h * radians;
	return new Lab(o5.l, Math.cos(h5) * o5.c, Math.sin(h5) * o5.c, o5.opacity);
}
define(Hcl, hcl, extend(Color, {
	brighter(k4) {
		return new Hcl(this.h, this.c, this.l + K2 * (k4 == null ? 1 : k4), this.opacity);
	},
	darker(k4) {
		return new Hcl(this.h, this.c, this.l - K2 * (k4 == null ? 1 : k4), this.opacity);
	},
	rgb() {
		return hcl2lab(this).rgb();
	}
}));
var A4 = -0.14861;
var B3 = 1.78277;
var C3 = -0.29227;
var D3 = -0.90649;
var E4 = 1.97294;
var ED = E4 * D3;
var EB = E4 * B3;
var BC_DA = B3 * C3 - D3 * A4;
function cubehelixConvert(o5) {
	if (o5 instanceof Cubehelix) return new Cubehelix(o5.h, o5.s, o5.l, o5.opacity);
	if (!(o5 instanceof Rgb)) o5 = rgbConvert(o5);
	var r4 = o5.r / 255, g5 = o5.g / 255, b4 = o5.b / 255, l4 = (BC_DA * b4 + ED * r4 - EB * g5) / (BC_DA + ED - EB), bl = b4 - l4, k4 = (E4 * (g5 - l4) - C3 * bl) / D3, s4 = Math.sqrt(k4 * k4 + bl * bl) / (E4 * l4 * (1 - l4)), h5 = s4 ? Math.atan2(k4, bl) * degrees - 120 : NaN;
	return new Cubehelix(h5 < 0 ? h5 + 360 : h5, s4, l4, o5.opacity);
}
function cubehelix(h5, s4, l4, opacity) {
	return arguments.length === 1 ? cubehelixConvert(h5) : new Cubehelix(h5, s4, l4, opacity == null ? 1 : opacity);
}
function Cubehelix(h5, s4, l4, opacity) {
	this.h = +h5;
	this.s = +s4;
	this.l = +l4;
	this.opacity = +opacity;
}
define(Cubehelix, cubehelix, extend(Color, {
	brighter(k4) {
		k4 = k4 == null ? brighter : Math.pow(brighter, k4);
		return new Cubehelix(this.h, this.s, this.l * k4, this.opacity);
	},
	darker(k4) {
		k4 = k4 == null ? darker : Math.pow(darker, k4);
		return new Cubehelix(this.h, this.s, this.l * k4, this.opacity);
	},
	rgb() {
		var h5 = isNaN(this.h) ? 0 : (this.h + 120) * radians, l4 = +this.l, a5 = isNaN(this.s) ? 0 : this.s * l4 * (1 - l4), cosh2 = Math.cos(h5), sinh2 = Math.sin(h5);
		return new Rgb(
			255 * (l4 + a5 * (A4 * cosh2 + B3 * sinh2)),
			255 * (l4 + a5 * (C3 * cosh2 + D3 * sinh2)),
			255 * (l4 + a5 * (E4 * cosh2)),
			this.opacity
		);
	}
}));

// node_modules/d3-interpolate/dist/d3-interpolate.mjs
function basis(t12, v0, v1, v22, v32) {
	var t23 = t12 * t12, t33 = t23 * t12;
	return ((1 - 3 * t12 + 3 * t23 - t33) * v0 + (4 - 6 * t23 + 3 * t33) * v1 + (1 + 3 * t12 + 3 * t23 - 3 * t33) * v22 + t33 * v32) / 6;
}
function basis$1(values) {
	var n3 = values.length - 1;
	return function(t4) {
		var i4 = t4 <= 0 ? t4 = 0 : t4 >= 1 ? (t4 = 1, n3 - 1) : Math.floor(t4 * n3), v1 = values[i4], v22 = values[i4 + 1], v0 = i4 > 0 ? values[i4 - 1] : 2 * v1 - v22, v32 = i4 < n3 - 1 ? values[i4 + 2] : 2 * v22 - v1;
		return basis((t4 - i4 / n3) * n3, v0, v1, v22, v32);
	};
}
function basisClosed(values) {
	var n3 = values.length;
	return function(t4) {
		var i4 = Math.floor(((t4 %= 1) < 0 ? ++t4 : t4) * n3), v0 = values[(i4 + n3 - 1) % n3], v1 = values[i4 % n3], v22 = values[(i4 + 1) % n3], v32 = values[(i4 + 2) % n3];
		return basis((t4 - i4 / n3) * n3, v0, v1, v22, v32);
	};
}
var constant = (x3) => () => x3;
function linear(a5, d5) {
	return function(t4) {
		return a5 + t4 * d5;
	};
}
function exponential(a5, b4, y5) {
	return a5 = Math.pow(a5, y5), b4 = Math.pow(b4, y5) - a5, y5 = 1 / y5, function(t4) {
		return Math.pow(a5 + t4 * b4, y5);
	};
}
function hue$1(a5, b4) {
	var d5 = b4 - a5;
	return d5 ? linear(a5, d5 > 180 || d5 < -180 ? d5 - 360 * Math.round(d5 / 360) : d5) : constant(isNaN(a5) ? b4 : a5);
}
function gamma(y5) {
	return (y5 = +y5) === 1 ? nogamma : function(a5, b4) {
		return b4 - a5 ? exponential(a5, b4, y5) : constant(isNaN(a5) ? b4 : a5);
	};
}
function nogamma(a5, b4) {
	var d5 = b4 - a5;
	return d5 ? linear(a5, d5) : constant(isNaN(a5) ? b4 : a5);
}
var rgb2 = (function rgbGamma(y5) {
	var color2 = gamma(y5);
	function rgb3(start, end) {
		var r4 = color2((start = rgb(start)).r, (end = rgb(end)).r), g5 = color2(start.g, end.g), b4 = color2(start.b, end.b), opacity = nogamma(start.opacity, end.opacity);
		return function(t4) {
			start.r = r4(t4);
			start.g = g5(t4);
			start.b = b4(t4);
			start.opacity = opacity(t4);
			return start + "";
		};
	}
	rgb3.gamma = rgbGamma;
	return rgb3;
})(1);
function rgbSpline(spline) {
	return function(colors) {
		var n3 = colors.length, r4 = new Array(n3), g5 = new Array(n3), b4 = new Array(n3), i4, color2;
		for (i4 = 0; i4 < n3; ++i4) {
			color2 = rgb(colors[i4]);
			r4[i4] = color2.r || 0;
			g5[i4] = color2.g || 0;
			b4[i4] = color2.b || 0;
		}
		r4 = spline(r4);
		g5 = spline(g5);
		b4 = spline(b4);
		color2.opacity = 1;
		return function(t4) {
			color2.r = r4(t4);
			color2.g = g5(t4);
			color2.b = b4(t4);
			return color2 + "";
		};
	};
}
var rgbBasis = rgbSpline(basis$1);
var rgbBasisClosed = rgbSpline(basisClosed);
function numberArray(a5, b4) {
	if (!b4) b4 = [];
	var n3 = a5 ? Math.min(b4.length, a5.length) : 0, c4 = b4.slice(), i4;
	return function(t4) {
		for (i4 = 0; i4 < n3; ++i4) c4[i4] = a5[i4] * (1 - t4) + b4[i4] * t4;
		return c4;
	};
}
function isNumberArray(x3) {
	return ArrayBuffer.isView(x3) && !(x3 instanceof DataView);
}
function genericArray(a5, b4) {
	var nb = b4 ? b4.length : 0, na = a5 ? Math.min(nb, a5.length) : 0, x3 = new Array(na), c4 = new Array(nb), i4;
	for (i4 = 0; i4 < na; ++i4) x3[i4] = value(a5[i4], b4[i4]);
	for (; i4 < nb; ++i4) c4[i4] = b4[i4];
	return function(t4) {
		for (i4 = 0; i4 < na; ++i4) c4[i4] = x3[i4](t4);
		return c4;
	};
}
function date(a5, b4) {
	var d5 = /* @__PURE__ */ new Date();
	return a5 = +a5, b4 = +b4, function(t4) {
		return d5.setTime(a5 * (1 - t4) + b4 * t4), d5;
	};
}
function number2(a5, b4) {
	return a5 = +a5, b4 = +b4, function(t4) {
		return a5 * (1 - t4) + b4 * t4;
	};
}
function object(a5, b4) {
	var i4 = {}, c4 = {}, k4;
	if (a5 === null || typeof a5 !== "object") a5 = {};
	if (b4 === null || typeof b4 !== "object") b4 = {};
	for (k4 in b4) {
		if (k4 in a5) {
			i4[k4] = value(a5[k4], b4[k4]);
		} else {
			c4[k4] = b4[k4];
		}
	}
	return function(t4) {
		for (k4 in i4) c4[k4] = i4[k4](t4);
		return c4;
	};
}
var reA = /[-+]?(?:\d+\.?\d*|\.?\d+)(?:[eE][-+]?\d+)?/g;
var reB = new RegExp(reA.source, "g");
function zero2(b4) {
	return function() {
		return b4;
	};
}
function one(b4) {
	return function(t4) {
		return b4(t4) + "";
	};
}
function string(a5, b4) {
	var bi = reA.lastIndex = reB.lastIndex = 0, am, bm, bs, i4 = -1, s4 = [], q2 = [];
	a5 = a5 + "", b4 = b4 + "";
	while ((am = reA.exec(a5)) && (bm = reB.exec(b4))) {
		if ((bs = bm.index) > bi) {
			bs = b4.slice(bi, bs);
			if (s4[i4]) s4[i4] += bs;
			else s4[++i4] = bs;
		}
		if ((am = am[0]) === (bm = bm[0])) {
			if (s4[i4]) s4[i4] += bm;
			else s4[++i4] = bm;
		} else {
			s4[++i4] = null;
			q2.push({ i: i4, x: number2(am, bm) });
		}
		bi = reB.lastIndex;
	}
	if (bi < b4.length) {
		bs = b4.slice(bi);
		if (s4[i4]) s4[i4] += bs;
		else s4[++i4] = bs;
	}
	return s4.length < 2 ? q2[0] ? one(q2[0].x) : zero2(b4) : (b4 = q2.length, function(t4) {
		for (var i5 = 0, o5; i5 < b4; ++i5) s4[(o5 = q2[i5]).i] = o5.x(t4);
		return s4.join("");
	});
}
function value(a5, b4) {
	var t4 = typeof b4, c4;
	return b4 == null || t4 === "boolean" ? constant(b4) : (t4 === "number" ? number2 : t4 === "string" ? (c4 = color(b4)) ? (b4 = c4, rgb2) : string : b4 instanceof color ? rgb2 : b4 instanceof Date ? date : isNumberArray(b4) ? numberArray : Array.isArray(b4) ? genericArray : typeof b4.valueOf !== "function" && typeof b4.toString !== "function" || isNaN(b4) ? object : number2)(a5, b4);
}
function round(a5, b4) {
	return a5 = +a5, b4 = +b4, function(t4) {
		return Math.round(a5 * (1 - t4) + b4 * t4);
	};
}
var degrees2 = 180 / Math.PI;
var identity = {
	translateX: 0,
	translateY: 0,
	rotate: 0,
	skewX: 0,
	scaleX: 1,
	scaleY: 1
};
function decompose(a5, b4, c4, d5, e4, f5) {
	var scaleX, scaleY, skewX;
	if (scaleX = Math.sqrt(a5 * a5 + b4 * b4)) a5 /= scaleX, b4 /= scaleX;
	if (skewX = a5 * c4 + b4 * d5) c4 -= a5 * skewX, d5 -= b4 * skewX;
	if (scaleY = Math.sqrt(c4 * c4 + d5 * d5)) c4 /= scaleY, d5 /= scaleY, skewX /= scaleY;
	if (a5 * d5 < b4 * c4) a5 = -a5, b4 = -b4, skewX = -skewX, scaleX = -scaleX;
	return {
		translateX: e4,
		translateY: f5,
		rotate: Math.atan2(b4, a5) * degrees2,
		skewX: Math.atan(skewX) * degrees2,
		scaleX,
		scaleY
	};
}
var svgNode;
function parseCss(value2) {
	const m5 = new (typeof DOMMatrix === "function" ? DOMMatrix : WebKitCSSMatrix)(value2 + "");
	return m5.isIdentity ? identity : decompose(m5.a, m5.b, m5.c, m5.d, m5.e, m5.f);
}
function parseSvg(value2) {
	if (value2 == null) return identity;
	if (!svgNode) svgNode = document.createElementNS("http://www.w3.org/2000/svg", "g");
	svgNode.setAttribute("transform", value2);
	if (!(value2 = svgNode.transform.baseVal.consolidate())) return identity;
	value2 = value2.matrix;
	return decompose(value2.a, value2.b, value2.c, value2.d, value2.e, value2.f);
}
function interpolateTransform(parse2, pxComma, pxParen, degParen) {
	function pop(s4) {
		return s4.length ? s4.pop() + " " : "";
	}
	function translate(xa, ya, xb, yb, s4, q2) {
		if (xa !== xb || ya !== yb) {
			var i4 = s4.push("translate(", null, pxComma, null, pxParen);
			q2.push({ i: i4 - 4, x: number2(xa, xb) }, { i: i4 - 2, x: number2(ya, yb) });
		} else if (xb || yb) {
			s4.push("translate(" + xb + pxComma + yb + pxParen);
		}
	}
	function rotate(a5, b4, s4, q2) {
		if (a5 !== b4) {
			if (a5 - b4 > 180) b4 += 360;
			else if (b4 - a5 > 180) a5 += 360;
			q2.push({ i: s4.push(pop(s4) + "rotate(", null, degParen) - 2, x: number2(a5, b4) });
		} else if (b4) {
			s4.push(pop(s4) + "rotate(" + b4 + degParen);
		}
	}
	function skewX(a5, b4, s4, q2) {
		if (a5 !== b4) {
			q2.push({ i: s4.push(pop(s4) + "skewX(", null, degParen) - 2, x: number2(a5, b4) });
		} else if (b4) {
			s4.push(pop(s4) + "skewX(" + b4 + degParen);
		}
	}
	function scale2(xa, ya, xb, yb, s4, q2) {
		if (xa !== xb || ya !== yb) {
			var i4 = s4.push(pop(s4) + "scale(", null, ",", null, ")");
			q2.push({ i: i4 - 4, x: number2(xa, xb) }, { i: i4 - 2, x: number2(ya, yb) });
		} else if (xb !== 1 || yb !== 1) {
			s4.push(pop(s4) + "scale(" + xb + "," + yb + ")");
		}
	}
	return function(a5, b4) {
		var s4 = [], q2 = [];
		a5 = parse2(a5), b4 = parse2(b4);
		translate(a5.translateX, a5.translateY, b4.translateX, b4.translateY, s4, q2);
		rotate(a5.rotate, b4.rotate, s4, q2);
		skewX(a5.skewX, b4.skewX, s4, q2);
		scale2(a5.scaleX, a5.scaleY, b4.scaleX, b4.scaleY, s4, q2);
		a5 = b4 = null;
		return function(t4) {
			var i4 = -1, n3 = q2.length, o5;
			while (++i4 < n3) s4[(o5 = q2[i4]).i] = o5.x(t4);
			return s4.join("");
		};
	};
}
var interpolateTransformCss = interpolateTransform(parseCss, "px, ", "px)", "deg)");
var interpolateTransformSvg = interpolateTransform(parseSvg, ", ", ")", ")");
var epsilon2 = 1e-12;
function cosh(x3) {
	return ((x3 = Math.exp(x3)) + 1 / x3) / 2;
}
function sinh(x3) {
	return ((x3 = Math.exp(x3)) - 1 / x3) / 2;
}
function tanh(x3) {
	return ((x3 = Math.exp(2 * x3)) - 1) / (x3 + 1);
}
var zoom = (function zoomRho(rho, rho2, rho4) {
	function zoom2(p0, p1) {
		var ux0 = p0[0], uy0 = p0[1], w0 = p0[2], ux1 = p1[0], uy1 = p1[1], w1 = p1[2], dx = ux1 - ux0, dy = uy1 - uy0, d22 = dx * dx + dy * dy, i4, S3;
		if (d22 < epsilon2) {
			S3 = Math.log(w1 / w0) / rho;
			i4 = function(t4) {
				return [
					ux0 + t4 * dx,
					uy0 + t4 * dy,
					w0 * Math.exp(rho * t4 * S3)
				];
			};
		} else {
			var d1 = Math.sqrt(d22), b0 = (w1 * w1 - w0 * w0 + rho4 * d22) / (2 * w0 * rho2 * d1), b1 = (w1 * w1 - w0 * w0 - rho4 * d22) / (2 * w1 * rho2 * d1), r0 = Math.log(Math.sqrt(b0 * b0 + 1) - b0), r1 = Math.log(Math.sqrt(b1 * b1 + 1) - b1);
			S3 = (r1 - r0) / rho;
			i4 = function(t4) {
				var s4 = t4 * S3, coshr0 = cosh(r0), u4 = w0 / (rho2 * d1) * (coshr0 * tanh(rho * s4 + r0) - sinh(r0));
				return [
					ux0 + u4 * dx,
					uy0 + u4 * dy,
					w0 * coshr0 / cosh(rho * s4 + r0)
				];
			};
		}
		i4.duration = Math.abs(S3) * 1e3 * rho / Math.SQRT2;
		return i4;
	}
	zoom2.rho = function(_4) {
		var _1 = Math.max(1e-3, +_4), _22 = _1 * _1, _42 = _22 * _22;
		return zoomRho(_1, _22, _42);
	};
	return zoom2;
})(Math.SQRT2, 2, 4);
function hsl2(hue) {
	return function(start, end) {
		var h5 = hue((start = hsl(start)).h, (end = hsl(end)).h), s4 = nogamma(start.s, end.s), l4 = nogamma(start.l, end.l), opacity = nogamma(start.opacity, end.opacity);
		return function(t4) {
			start.h = h5(t4);
			start.s = s4(t4);
			start.l = l4(t4);
			start.opacity = opacity(t4);
			return start + "";
		};
	};
}
var hsl_default = hsl2(hue$1);
var hslLong = hsl2(nogamma);
function hcl2(hue) {
	return function(start, end) {
		var h5 = hue((start = hcl(start)).h, (end = hcl(end)).h), c4 = nogamma(start.c, end.c), l4 = nogamma(start.l, end.l), opacity = nogamma(start.opacity, end.opacity);
		return function(t4) {
			start.h = h5(t4);
			start.c = c4(t4);
			start.l = l4(t4);
			start.opacity = opacity(t4);
			return start + "";
		};
	};
}
var hcl_default = hcl2(hue$1);
var hclLong = hcl2(nogamma);
function cubehelix2(hue) {
	return (function cubehelixGamma(y5) {
		y5 = +y5;
		function cubehelix3(start, end) {
			var h5 = hue((start = cubehelix(start)).h, (end = cubehelix(end)).h), s4 = nogamma(start.s, end.s), l4 = nogamma(start.l, end.l), opacity = nogamma(start.opacity, end.opacity);
			return function(t4) {
				start.h = h5(t4);
				start.s = s4(t4);
				start.l = l4(Math.pow(t4, y5));
				start.opacity = opacity(t4);
				return start + "";
			};
		}
		cubehelix3.gamma = cubehelixGamma;
		return cubehelix3;
	})(1);
}
var cubehelix_default = cubehelix2(hue$1);
var cubehelixLong = cubehelix2(nogamma);

// node_modules/d3-scale/src/constant.js
function constants(x3) {
	return function() {
		return x3;
	};
}

// node_modules/d3-scale/src/number.js
function number3(x3) {
	return +x3;
}

// node_modules/d3-scale/src/continuous.js
var unit = [0, 1];
function identity2(x3) {
	return x3;
}
function normalize(a5, b4) {
	return (b4 -= a5 = +a5) ? function(x3) {
		return (x3 - a5) / b4;
	} : constants(isNaN(b4) ? NaN : 0.5);
}
function clamper(a5, b4) {
	var t4;
	if (a5 > b4) t4 = a5, a5 = b4, b4 = t4;
	return function(x3) {
		return Math.max(a5, Math.min(b4, x3));
	};
}
function bimap(domain, range, interpolate) {
	var d0 = domain[0], d1 = domain[1], r0 = range[0], r1 = range[1];
	if (d1 < d0) d0 = normalize(d1, d0), r0 = interpolate(r1, r0);
	else d0 = normalize(d0, d1), r0 = interpolate(r0, r1);
	return function(x3) {
		return r0(d0(x3));
	};
}
function polymap(domain, range, interpolate) {
	var j3 = Math.min(domain.length, range.length) - 1, d5 = new Array(j3), r4 = new Array(j3), i4 = -1;
	if (domain[j3] < domain[0]) {
		domain = domain.slice().reverse();
		range = range.slice().reverse();
	}
	while (++i4 < j3) {
		d5[i4] = normalize(domain[i4], domain[i4 + 1]);
		r4[i4] = interpolate(range[i4], range[i4 + 1]);
	}
	return function(x3) {
		var i5 = bisectRight(domain, x3, 1, j3) - 1;
		return r4[i5](d5[i5](x3));
	};
}
function copy(source, target) {
	return target.domain(source.domain()).range(source.range()).interpolate(source.interpolate()).clamp(source.clamp()).unknown(source.unknown());
}
function transformer() {
	var domain = unit, range = unit, interpolate = value, transform, untransform, unknown, clamp2 = identity2, piecewise, output, input;
	function rescale() {
		var n3 = Math.min(domain.length, range.length);
		if (clamp2 !== identity2) clamp2 = clamper(domain[0], domain[n3 - 1]);
		piecewise = n3 > 2 ? polymap : bimap;
		output = input = null;
		return scale2;
	}
	function scale2(x3) {
		return x3 == null || isNaN(x3 = +x3) ? unknown : (output || (output = piecewise(domain.map(transform), range, interpolate)))(transform(clamp2(x3)));
	}
	scale2.invert = function(y5) {
		return clamp2(untransform((input || (input = piecewise(range, domain.map(transform), number2)))(y5)));
	};
	scale2.domain = function(_4) {
		return arguments.length ? (domain = Array.from(_4, number3), rescale()) : domain.slice();
	};
	scale2.range = function(_4) {
		return arguments.length ? (range = Array.from(_4), rescale()) : range.slice();
	};
	scale2.rangeRound = function(_4) {
		return range = Array.from(_4), interpolate = round, rescale();
	};
	scale2.clamp = function(_4) {
		return arguments.length ? (clamp2 = _4 ? true : identity2, rescale()) : clamp2 !== identity2;
	};
	scale2.interpolate = function(_4) {
		return arguments.length ? (interpolate = _4, rescale()) : interpolate;
	};
	scale2.unknown = function(_4) {
		return arguments.length ? (unknown = _4, scale2) : unknown;
	};
	return function(t4, u4) {
		transform = t4, untransform = u4;
		return rescale();
	};
}
function continuous() {
	return transformer()(identity2, identity2);
}

// node_modules/d3-format/dist/d3-format.mjs
function formatDecimal(x3) {
	return Math.abs(x3 = Math.round(x3)) >= 1e21 ? x3.toLocaleString("en").replace(/,/g, "") : x3.toString(10);
}
function formatDecimalParts(x3, p5) {
	if (!isFinite(x3) || x3 === 0) return null;
	var i4 = (x3 = p5 ? x3.toExponential(p5 - 1) : x3.toExponential()).indexOf("e"), coefficient = x3.slice(0, i4);
	return [
		coefficient.length > 1 ? coefficient[0] + coefficient.slice(2) : coefficient,
		+x3.slice(i4 + 1)
	];
}
function exponent(x3) {
	return x3 = formatDecimalParts(Math.abs(x3)), x3 ? x3[1] : NaN;
}
function formatGroup(grouping, thousands) {
	return function(value2, width) {
		var i4 = value2.length, t4 = [], j3 = 0, g5 = grouping[0], length = 0;
		while (i4 > 0 && g5 > 0) {
			if (length + g5 + 1 > width) g5 = Math.max(1, width - length);
			t4.push(value2.substring(i4 -= g5, i4 + g5));
			if ((length += g5 + 1) > width) break;
			g5 = grouping[j3 = (j3 + 1) % grouping.length];
		}
		return t4.reverse().join(thousands);
	};
}
function formatNumerals(numerals) {
	return function(value2) {
		return value2.replace(/[0-9]/g, function(i4) {
			return numerals[+i4];
		});
	};
}
var re = /^(?:(.)?([<>=^]))?([+\-( ])?([$#])?(0)?(\d+)?(,)?(\.\d+)?(~)?([a-z%])?$/i;
function formatSpecifier(specifier) {
	if (!(match = re.exec(specifier))) throw new Error("invalid format: " + specifier);
	var match;
	return new FormatSpecifier({
		fill: match[1],
		align: match[2],
		sign: match[3],
		symbol: match[4],
		zero: match[5],
		width: match[6],
		comma: match[7],
		precision: match[8] && match[8].slice(1),
		trim: match[9],
		type: match[10]
	});
}
formatSpecifier.prototype = FormatSpecifier.prototype;
function FormatSpecifier(specifier) {
	this.fill = specifier.fill === void 0 ? " " : specifier.fill + "";
	this.align = specifier.align === void 0 ? ">" : specifier.align + "";
	this.sign = specifier.sign === void 0 ? "-" : specifier.sign + "";
	this.symbol = specifier.symbol === void 0 ? "" : specifier.symbol + "";
	this.zero = !!specifier.zero;
	this.width = specifier.width === void 0 ? void 0 : +specifier.width;
	this.comma = !!specifier.comma;
	this.precision = specifier.precision === void 0 ? void 0 : +specifier.precision;
	this.trim = !!specifier.trim;
	this.type = specifier.type === void 0 ? "" : specifier.type + "";
}
FormatSpecifier.prototype.toString = function() {
	return this.fill + this.align + this.sign + this.symbol + (this.zero ? "0" : "") + (this.width === void 0 ? "" : Math.max(1, this.width | 0)) + (this.comma ? "," : "") + (this.precision === void 0 ? "" : "." + Math.max(0, this.precision | 0)) + (this.trim ? "~" : "") + this.type;
};
function formatTrim(s4) {
	out: for (var n3 = s4.length, i4 = 1, i0 = -1, i1; i4 < n3; ++i4) {
		switch (s4[i4]) {
			case ".":
				i0 = i1 = i4;
				break;
			case "0":
				if (i0 === 0) i0 = i4;
				i1 = i4;
				break;
			default:
				if (!+s4[i4]) break out;
				if (i0 > 0) i0 = 0;
				break;
		}
	}
	return i0 > 0 ? s4.slice(0, i0) + s4.slice(i1 + 1) : s4;
}
var prefixExponent;
function formatPrefixAuto(x3, p5) {
	var d5 = formatDecimalParts(x3, p5);
	if (!d5) return prefixExponent = void 0, x3.toPrecision(p5);
	var coefficient = d5[0], exponent2 = d5[1], i4 = exponent2 - (prefixExponent = Math.max(-8, Math.min(8, Math.floor(exponent2 / 3))) * 3) + 1, n3 = coefficient.length;
	return i4 === n3 ? coefficient : i4 > n3 ? coefficient + new Array(i4 - n3 + 1).join("0") : i4 > 0 ? coefficient.slice(0, i4) + "." + coefficient.slice(i4) : "0." + new Array(1 - i4).join("0") + formatDecimalParts(x3, Math.max(0, p5 + i4 - 1))[0];
}
function formatRounded(x3, p5) {
	var d5 = formatDecimalParts(x3, p5);
	if (!d5) return x3 + "";
	var coefficient = d5[0], exponent2 = d5[1];
	return exponent2 < 0 ? "0." + new Array(-exponent2).join("0") + coefficient : coefficient.length > exponent2 + 1 ? coefficient.slice(0, exponent2 + 1) + "." + coefficient.slice(exponent2 + 1) : coefficient + new Array(exponent2 - coefficient.length + 2).join("0");
}
var formatTypes = {
	"%": (x3, p5) => (x3 * 100).toFixed(p5),
	"b": (x3) => Math.round(x3).toString(2),
	"c": (x3) => x3 + "",
	"d": formatDecimal,
	"e": (x3, p5) => x3.toExponential(p5),
	"f": (x3, p5) => x3.toFixed(p5),
	"g": (x3, p5) => x3.toPrecision(p5),
	"o": (x3) => Math.round(x3).toString(8),
	"p": (x3, p5) => formatRounded(x3 * 100, p5),
	"r": formatRounded,
	"s": formatPrefixAuto,
	"X": (x3) => Math.round(x3).toString(16).toUpperCase(),
	"x": (x3) => Math.round(x3).toString(16)
};
function identity3(x3) {
	return x3;
}
var map = Array.prototype.map;
var prefixes = ["y", "z", "a", "f", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E", "Z", "Y"];
function formatLocale(locale2) {
	var group = locale2.grouping === void 0 || locale2.thousands === void 0 ? identity3 : formatGroup(map.call(locale2.grouping, Number), locale2.thousands + ""), currencyPrefix = locale2.currency === void 0 ? "" : locale2.currency[0] + "", currencySuffix = locale2.currency === void 0 ? "" : locale2.currency[1] + "", decimal = locale2.decimal === void 0 ? "." : locale2.decimal + "", numerals = locale2.numerals === void 0 ? identity3 : formatNumerals(map.call(locale2.numerals, String)), percent = locale2.percent === void 0 ? "%" : locale2.percent + "", minus = locale2.minus === void 0 ? "−" : locale2.minus + "", nan = locale2.nan === void 0 ? "NaN" : locale2.nan + "";
	function newFormat(specifier, options) {
		specifier = formatSpecifier(specifier);
		var fill = specifier.fill, align = specifier.align, sign = specifier.sign, symbol = specifier.symbol, zero3 = specifier.zero, width = specifier.width, comma = specifier.comma, precision = specifier.precision, trim = specifier.trim, type = specifier.type;
		if (type === "n") comma = true, type = "g";
		else if (!formatTypes[type]) precision === void 0 && (precision = 12), trim = true, type = "g";
		if (zero3 || fill === "0" && align === "=") zero3 = true, fill = "0", align = "=";
		var prefix = (options && options.prefix !== void 0 ? options.prefix : "") + (symbol === "$" ? currencyPrefix : symbol === "#" && /[boxX]/.test(type) ? "0" + type.toLowerCase() : ""), suffix = (symbol === "$" ? currencySuffix : /[%p]/.test(type) ? percent : "") + (options && options.suffix !== void 0 ? options.suffix : "");
		var formatType = formatTypes[type], maybeSuffix = /[defgprs%]/.test(type);
		precision = precision === void 0 ? 6 : /[gprs]/.test(type) ? Math.max(1, Math.min(21, precision)) : Math.max(0, Math.min(20, precision));
		function format2(value2) {
			var valuePrefix = prefix, valueSuffix = suffix, i4, n3, c4;
			if (type === "c") {
				valueSuffix = formatType(value2) + valueSuffix;
				value2 = "";
			} else {
				value2 = +value2;
				var valueNegative = value2 < 0 || 1 / value2 < 0;
				value2 = isNaN(value2) ? nan : formatType(Math.abs(value2), precision);
				if (trim) value2 = formatTrim(value2);
				if (valueNegative && +value2 === 0 && sign !== "+") valueNegative = false;
				valuePrefix = (valueNegative ? sign === "(" ? sign : minus : sign === "-" || sign === "(" ? "" : sign) + valuePrefix;
				valueSuffix = (type === "s" && !isNaN(value2) && prefixExponent !== void 0 ? prefixes[8 + prefixExponent / 3] : "") + valueSuffix + (valueNegative && sign === "(" ? ")" : "");
				if (maybeSuffix) {
					i4 = -1, n3 = value2.length;
					while (++i4 < n3) {
						if (c4 = value2.charCodeAt(i4), 48 > c4 || c4 > 57) {
							valueSuffix = (c4 === 46 ? decimal + value2.slice(i4 + 1) : value2.slice(i4)) + valueSuffix;
							value2 = value2.slice(0, i4);
							break;
						}
					}
				}
			}
			if (comma && !zero3) value2 = group(value2, Infinity);
			var length = valuePrefix.length + value2.length + valueSuffix.length, padding = length < width ? new Array(width - length + 1).join(fill) : "";
			if (comma && zero3) value2 = group(padding + value2, padding.length ? width - valueSuffix.length : Infinity), padding = "";
			switch (align) {
				case "<":
					value2 = valuePrefix + value2 + valueSuffix + padding;
					break;
				case "=":
					value2 = valuePrefix + padding + value2 + valueSuffix;
					break;
				case "^":
					value2 = padding.slice(0, length = padding.length >> 1) + valuePrefix + value2 + valueSuffix + padding.slice(length);
					break;
				default:
					value2 = padding + valuePrefix + value2 + valueSuffix;
					break;
			}
			return numerals(value2);
		}
		format2.toString = function() {
			return specifier + "";
		};
		return format2;
	}
	function formatPrefix2(specifier, value2) {
		var e4 = Math.max(-8, Math.min(8, Math.floor(exponent(value2) / 3))) * 3, k4 = Math.pow(10, -e4), f5 = newFormat((specifier = formatSpecifier(specifier), specifier.type = "f", specifier), { suffix: prefixes[8 + e4 / 3] });
		return function(value3) {
			return f5(k4 * value3);
		};
	}
	return {
		format: newFormat,
		formatPrefix: formatPrefix2
	};
}
var locale;
var format;
var formatPrefix;
defaultLocale({
	thousands: ",",
	grouping: [3],
	currency: ["$", ""]
});
function defaultLocale(definition) {
	locale = formatLocale(definition);
	format = locale.format;
	formatPrefix = locale.formatPrefix;
	return locale;
}
function precisionFixed(step3) {
	return Math.max(0, -exponent(Math.abs(step3)));
}
function precisionPrefix(step3, value2) {
	return Math.max(0, Math.max(-8, Math.min(8, Math.floor(exponent(value2) / 3))) * 3 - exponent(Math.abs(step3)));
}
function precisionRound(step3, max) {
	step3 = Math.abs(step3), max = Math.abs(max) - step3;
	return Math.max(0, exponent(max) - exponent(step3)) + 1;
}

// node_modules/d3-scale/src/tickFormat.js
function tickFormat(start, stop, count2, specifier) {
	var step3 = tickStep(start, stop, count2), precision;
	specifier = formatSpecifier(specifier == null ? ",f" : specifier);
	switch (specifier.type) {
		case "s": {
			var value2 = Math.max(Math.abs(start), Math.abs(stop));
			if (specifier.precision == null && !isNaN(precision = precisionPrefix(step3, value2))) specifier.precision = precision;
			return formatPrefix(specifier, value2);
		}
		case "":
		case "e":
		case "g":
		case "p":
		case "r": {
			if (specifier.precision == null && !isNaN(precision = precisionRound(step3, Math.max(Math.abs(start), Math.abs(stop))))) specifier.precision = precision - (specifier.type === "e");
			break;
		}
		case "f":
		case "%": {
			if (specifier.precision == null && !isNaN(precision = precisionFixed(step3))) specifier.precision = precision - (specifier.type === "%") * 2;
			break;
		}
	}
	return format(specifier);
}

// node_modules/d3-scale/src/linear.js
function linearish(scale2) {
	var domain = scale2.domain;
	scale2.ticks = function(count2) {
		var d5 = domain();
		return ticks(d5[0], d5[d5.length - 1], count2 == null ? 10 : count2);
	};
	scale2.tickFormat = function(count2, specifier) {
		var d5 = domain();
		return tickFormat(d5[0], d5[d5.length - 1], count2 == null ? 10 : count2, specifier);
	};
	scale2.nice = function(count2) {
		if (count2 == null) count2 = 10;
		var d5 = domain();
		var i0 = 0;
		var i1 = d5.length - 1;
		var start = d5[i0];
		var stop = d5[i1];
		var prestep;
		var step3;
		var maxIter = 10;
		if (stop < start) {
			step3 = start, start = stop, stop = step3;
			step3 = i0, i0 = i1, i1 = step3;
		}
		while (maxIter-- > 0) {
			step3 = tickIncrement(start, stop, count2);
			if (step3 === prestep) {
				d5[i0] = start;
				d5[i1] = stop;
				return domain(d5);
			} else if (step3 > 0) {
				start = Math.floor(start / step3) * step3;
				stop = Math.ceil(stop / step3) * step3;
			} else if (step3 < 0) {
				start = Math.ceil(start * step3) / step3;
				stop = Math.floor(stop * step3) / step3;
			} else {
				break;
			}
			prestep = step3;
		}
		return scale2;
	};
	return scale2;
}
function linear2() {
	var scale2 = continuous();
	scale2.copy = function() {
		return copy(scale2, linear2());
	};
	initRange.apply(scale2, arguments);
	return linearish(scale2);
}

// node_modules/d3-scale/src/nice.js
function nice(domain, interval) {
	domain = domain.slice();
	var i0 = 0, i1 = domain.length - 1, x0 = domain[i0], x1 = domain[i1], t4;
	if (x1 < x0) {
		t4 = i0, i0 = i1, i1 = t4;
		t4 = x0, x0 = x1, x1 = t4;
	}
	domain[i0] = interval.floor(x0);
	domain[i1] = interval.ceil(x1);
	return domain;
}

// node_modules/d3-scale/src/log.js
function transformLog(x3) {
	return Math.log(x3);
}
function transformExp(x3) {
	return Math.exp(x3);
}
function transformLogn(x3) {
	return -Math.log(-x3);
}
function transformExpn(x3) {
	return -Math.exp(-x3);
}
function pow10(x3) {
	return isFinite(x3) ? +("1e" + x3) : x3 < 0 ? 0 : x3;
}
function powp(base) {
	return base === 10 ? pow10 : base === Math.E ? Math.exp : (x3) => Math.pow(base, x3);
}
function logp(base) {
	return base === Math.E ? Math.log : base === 10 && Math.log10 || base === 2 && Math.log2 || (base = Math.log(base), (x3) => Math.log(x3) / base);
}
function reflect(f5) {
	return (x3, k4) => -f5(-x3, k4);
}
function loggish(transform) {
	const scale2 = transform(transformLog, transformExp);
	const domain = scale2.domain;
	let base = 10;
	let logs;
	let pows;
	function rescale() {
		logs = logp(base), pows = powp(base);
		if (domain()[0] < 0) {
			logs = reflect(logs), pows = reflect(pows);
			transform(transformLogn, transformExpn);
		} else {
			transform(transformLog, transformExp);
		}
		return scale2;
	}
	scale2.base = function(_4) {
		return arguments.length ? (base = +_4, rescale()) : base;
	};
	scale2.domain = function(_4) {
		return arguments.length ? (domain(_4), rescale()) : domain();
	};
	scale2.ticks = (count2) => {
		const d5 = domain();
		let u4 = d5[0];
		let v4 = d5[d5.length - 1];
		const r4 = v4 < u4;
		if (r4) [u4, v4] = [v4, u4];
		let i4 = logs(u4);
		let j3 = logs(v4);
		let k4;
		let t4;
		const n3 = count2 == null ? 10 : +count2;
		let z3 = [];
		if (!(base % 1) && j3 - i4 < n3) {
			i4 = Math.floor(i4), j3 = Math.ceil(j3);
			if (u4 > 0) for (; i4 <= j3; ++i4) {
				for (k4 = 1; k4 < base; ++k4) {
					t4 = i4 < 0 ? k4 / pows(-i4) : k4 * pows(i4);
					if (t4 < u4) continue;
					if (t4 > v4) break;
					z3.push(t4);
				}
			}
			else for (; i4 <= j3; ++i4) {
				for (k4 = base - 1; k4 >= 1; --k4) {
					t4 = i4 > 0 ? k4 / pows(-i4) : k4 * pows(i4);
					if (t4 < u4) continue;
					if (t4 > v4) break;
					z3.push(t4);
				}
			}
			if (z3.length * 2 < n3) z3 = ticks(u4, v4, n3);
		} else {
			z3 = ticks(i4, j3, Math.min(j3 - i4, n3)).map(pows);
		}
		return r4 ? z3.reverse() : z3;
	};
	scale2.tickFormat = (count2, specifier) => {
		if (count2 == null) count2 = 10;
		if (specifier == null) specifier = base === 10 ? "s" : ",";
		if (typeof specifier !== "function") {
			if (!(base % 1) && (specifier = formatSpecifier(specifier)).precision == null) specifier.trim = true;
			specifier = format(specifier);
		}
		if (count2 === Infinity) return specifier;
		const k4 = Math.max(1, base * count2 / scale2.ticks().length);
		return (d5) => {
			let i4 = d5 / pows(Math.round(logs(d5)));
			if (i4 * base < base - 0.5) i4 *= base;
			return i4 <= k4 ? specifier(d5) : "";
		};
	};
	scale2.nice = () => {
		return domain(nice(domain(), {
			floor: (x3) => pows(Math.floor(logs(x3))),
			ceil: (x3) => pows(Math.ceil(logs(x3)))
		}));
	};
	return scale2;
}
function log() {
	const scale2 = loggish(transformer()).domain([1, 10]);
	scale2.copy = () => copy(scale2, log()).base(scale2.base());
	initRange.apply(scale2, arguments);
	return scale2;
}

// src/ui/Chart.tsx
var TOP = 22;
var BOTTOM = 42;
function Chart(props) {
	const [frame, width] = useWidth2();
	const { height = 300, x: x3, y: y5, lines: lines3, dots: dots2 = [], band, cursor } = props;
	const named3 = lines3.filter(({ label: label2 }) => label2);
	const labels = Math.max(0, ...named3.map(({ label: label2 }) => label2.length));
	const lettered = labels * 7 + 16 > width * 0.36;
	const right = lettered ? 26 : labels * 7 + 16;
	const letterOf = (line) => String.fromCharCode(65 + named3.indexOf(line));
	const points = [...lines3.flatMap((line) => line.points), ...dots2.map((dot) => [dot.x, dot.y]), ...band ? [...band.low, ...band.high] : []];
	const up2 = scale(y5, points.map(([, n3]) => n3), [height - BOTTOM, TOP]);
	const rules = yTicks(y5, up2);
	const left = Math.max(34, 12 + 6.6 * Math.max(0, ...rules.map((n3) => y5.format(n3).length)));
	const across = scale(x3, points.map(([n3]) => n3), [left, width - right]);
	const place = ([a5, b4]) => `${across(a5).toFixed(1)},${up2(b4).toFixed(1)}`;
	const xTicks = (x3.ticks ?? across.ticks(6)).filter(within(across));
	return a4("div", { class: "chart", ref: frame, children: [
		a4("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": props.title, children: [
			rules.map((n3) => a4("g", { children: [
				a4("line", { class: "rule", x1: left, x2: width - right, y1: up2(n3), y2: up2(n3) }),
				a4("text", { class: "tick", x: left - 7, y: up2(n3) + 4, "text-anchor": "end", children: y5.format(n3) })
			] }, n3)),
			spread(xTicks, across, x3.format).map(({ n: n3, said }) => a4("g", { children: [
				a4("line", { class: "mark", x1: across(n3), x2: across(n3), y1: height - BOTTOM, y2: height - BOTTOM + 5 }),
				said && a4("text", { class: "tick", x: across(n3), y: height - BOTTOM + 18, "text-anchor": "middle", children: said })
			] }, n3)),
			a4("text", { class: "axis", x: (left + width - right) / 2, y: height - 5, "text-anchor": "middle", children: x3.label }),
			a4("text", { class: "axis", x: 4, y: 10, "text-anchor": "start", children: y5.label }),
			band && a4("path", { class: "band", d: `M${band.low.map(place).join("L")}L${[...band.high].reverse().map(place).join("L")}Z`, children: a4("title", { children: band.label }) }),
			cursor !== void 0 && a4("line", { class: "cursor", x1: across(cursor), x2: across(cursor), y1: TOP, y2: height - BOTTOM }),
			lines3.map((line) => a4("g", { class: `line tone-${line.tone}${line.strong ? " strong" : ""}${line.dashed ? " dashed" : ""}`, "data-line": line.id, children: [
				a4("path", { d: `M${line.points.map(place).join("L")}` }),
				line.points.length === 1 && a4("circle", { cx: across(line.points[0][0]), cy: up2(line.points[0][1]), r: "3" })
			] }, line.id)),
			dots2.map((dot) => a4("circle", { class: `dot tone-${dot.tone}`, cx: across(dot.x), cy: up2(dot.y), r: "4.5", "data-dot": dot.id, children: a4("title", { children: dot.label }) }, `${dot.id} ${dot.x}`)),
			beside(named3, up2, TOP, height - BOTTOM).map(({ line, y: at }) => a4("text", { class: `name tone-${line.tone}${line.strong ? " strong" : ""}`, x: width - right + 8, y: at + 4, children: lettered ? letterOf(line) : line.label }, line.id))
		] }),
		lettered && a4("ul", { class: "letters", children: named3.map((line) => a4("li", { class: `tone-${line.tone}`, children: [
			a4("b", { children: letterOf(line) }),
			" ",
			line.label
		] }, line.id)) })
	] });
}
function scale(axis, values, range) {
	const fit3 = values.filter((n3) => Number.isFinite(n3) && (!axis.log || n3 > 0));
	const [low, high] = axis.domain ?? [Math.min(...fit3), Math.max(...fit3)];
	const made = (axis.log ? log() : linear2()).domain(fit3.length || axis.domain ? [low, high === low ? low + 1 : high] : [1, 10]).range(range);
	return made;
}
function within(of) {
	const [low, high] = of.domain();
	return (n3) => n3 >= low && n3 <= high;
}
function yTicks(axis, of) {
	if (axis.ticks) return axis.ticks;
	if (!axis.log) return of.ticks(5);
	const all = of.ticks(10);
	const powers = all.filter((n3) => Number.isInteger(Math.round(Math.log10(n3) * 1e6) / 1e6));
	return powers.length > 1 ? powers : all.filter((n3) => [1, 2, 5].includes(Math.round(n3 / 10 ** Math.floor(Math.log10(n3) + 1e-9))));
}
function spread(ticks2, of, format2) {
	let end = -Infinity;
	return ticks2.map((n3) => {
		const said = format2(n3);
		const half = said.length * 3.6;
		if (of(n3) - half < end + 6) return { n: n3, said: "" };
		end = of(n3) + half;
		return { n: n3, said };
	});
}
function beside(lines3, up2, top, bottom) {
	const step3 = 15;
	const placed = lines3.flatMap((line) => {
		const last = line.points[line.points.length - 1];
		return last ? [{ line, y: Math.max(top, Math.min(bottom, up2(last[1]))) }] : [];
	}).sort((a5, b4) => a5.y - b4.y);
	placed.forEach((item, i4) => {
		if (i4) item.y = Math.max(item.y, placed[i4 - 1].y + step3);
	});
	for (let i4 = placed.length - 1; i4 >= 0; i4--) {
		placed[i4].y = Math.min(placed[i4].y, i4 + 1 < placed.length ? placed[i4 + 1].y - step3 : bottom);
	}
	return placed;
}
function useWidth2() {
	const frame = T2(null);
	const [width, setWidth] = d2(600);
	A2(() => {
		const element = frame.current;
		if (!element) return;
		const look = () => setWidth(Math.max(200, Math.floor(element.clientWidth)));
		look();
		const watch = new ResizeObserver(look);
		watch.observe(element);
		return () => watch.disconnect();
	}, []);
	return [frame, width];
}

// src/ui/export.ts
function download(app, blob, name2) {
	const link = document.createElement("a");
	link.href = URL.createObjectURL(blob);
	link.download = name2;
	link.hidden = true;
	app.root.append(link);
	link.click();
	link.remove();
	setTimeout(() => URL.revokeObjectURL(link.href), 1e4);
}
function npy({ shape: shape2, data }) {
	const kind = data instanceof Float32Array ? "<f4" : data instanceof Int32Array ? "<i4" : "|u1";
	const head = `{'descr': '${kind}', 'fortran_order': False, 'shape': (${shape2.join(", ")}${shape2.length === 1 ? "," : ""}), }`;
	const padded = head + " ".repeat(63 - (10 + head.length) % 64) + "\n";
	const bytes = new Uint8Array(10 + padded.length);
	bytes.set([147, 78, 85, 77, 80, 89, 1, 0, padded.length & 255, padded.length >> 8]);
	for (let i4 = 0; i4 < padded.length; i4++) bytes[10 + i4] = padded.charCodeAt(i4);
	return new Blob([bytes, data], { type: "application/octet-stream" });
}
var DRAWN = [
	"fill",
	"fill-opacity",
	"stroke",
	"stroke-width",
	"stroke-dasharray",
	"stroke-linecap",
	"stroke-linejoin",
	"stroke-opacity",
	"opacity",
	"font-family",
	"font-size",
	"font-weight",
	"text-anchor",
	"dominant-baseline",
	"visibility",
	"display"
];
function flat(svg) {
	const copy2 = svg.cloneNode(true);
	const [from, to] = [[svg, ...svg.querySelectorAll("*")], [copy2, ...copy2.querySelectorAll("*")]];
	from.forEach((element, i4) => {
		const style = getComputedStyle(element);
		for (const name2 of DRAWN) {
			const value2 = style.getPropertyValue(name2);
			if (value2) to[i4].setAttribute(name2, value2);
		}
		to[i4].removeAttribute("style");
		to[i4].removeAttribute("class");
	});
	return copy2;
}
var SVG = "http://www.w3.org/2000/svg";
var set = (element, values) => Object.entries(values).forEach(([name2, value2]) => element.setAttribute(name2, String(value2)));
function shape(tag, values, text) {
	const element = document.createElementNS(SVG, tag);
	set(element, values);
	if (text !== void 0) element.textContent = text;
	return element;
}
function written(body, frame) {
	const found = [];
	const kinds = NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT;
	const walk = document.createTreeWalker(body, kinds, (node) => node instanceof Element && (node.matches("canvas, svg, .away, [hidden]") || !node.getClientRects().length) ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_ACCEPT);
	while (walk.nextNode()) {
		const node = walk.currentNode;
		if (node instanceof Element) {
			const { backgroundColor: fill, borderTopLeftRadius: round2 } = getComputedStyle(node);
			const { x: x3, y: y5, width, height } = node.getBoundingClientRect();
			if (fill !== "rgba(0, 0, 0, 0)") found.push(shape("rect", { x: x3 - frame.x, y: y5 - frame.y, width, height, fill, rx: parseFloat(round2) || 0 }));
		} else found.push(...lines(node, frame));
	}
	return found;
}
function lines(node, frame) {
	const style = getComputedStyle(node.parentElement);
	const rows = [];
	for (const { 0: word, index } of node.data.matchAll(/\S+\s*/g)) {
		const range = document.createRange();
		range.setStart(node, index);
		range.setEnd(node, index + word.trimEnd().length);
		const box = range.getBoundingClientRect();
		const last = rows[rows.length - 1];
		if (last && Math.abs(last.box.y - box.y) < 2) last.text += word;
		else if (box.width) rows.push({ box, text: word });
	}
	return rows.map(({ box, text }) => shape("text", {
		x: box.x - frame.x,
		y: box.y - frame.y + box.height / 2,
		fill: style.color,
		"dominant-baseline": "central",
		"font-family": style.fontFamily,
		"font-size": style.fontSize,
		"font-weight": style.fontWeight
	}, text.trimEnd()));
}
function vectorText(body, title) {
	const frame = body.getBoundingClientRect();
	const [width, height] = [Math.ceil(frame.width), Math.ceil(frame.height)];
	const page = shape("svg", { viewBox: `0 0 ${width} ${height}`, width, height });
	page.append(shape("title", {}, title), ...written(body, frame));
	for (const part of body.querySelectorAll("canvas, svg")) {
		if (part.parentElement?.closest("svg")) continue;
		const box = part.getBoundingClientRect();
		const place = { x: box.x - frame.x, y: box.y - frame.y, width: box.width, height: box.height };
		if (!box.width || !box.height) continue;
		if (part instanceof HTMLCanvasElement) {
			const image = shape("image", { ...place, href: part.toDataURL(), preserveAspectRatio: "none" });
			if (getComputedStyle(part).imageRendering === "pixelated") image.setAttribute("image-rendering", "optimizeSpeed");
			page.append(image);
		} else {
			const drawing = flat(part);
			set(drawing, place);
			page.append(drawing);
		}
	}
	return { text: new XMLSerializer().serializeToString(page), width, height };
}
function vectorOf(body, title) {
	return new Blob([vectorText(body, title).text], { type: "image/svg+xml" });
}
async function pictureOf(body) {
	const { text, width, height } = vectorText(body, "");
	const url = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
	try {
		const image = new Image();
		image.src = url;
		await image.decode();
		const canvas2 = document.createElement("canvas");
		[canvas2.width, canvas2.height] = [2 * width, 2 * height];
		const context = canvas2.getContext("2d");
		const ground = getComputedStyle(body.closest(".card") ?? body).backgroundColor;
		if (ground !== "rgba(0, 0, 0, 0)") {
			context.fillStyle = ground;
			context.fillRect(0, 0, canvas2.width, canvas2.height);
		}
		context.drawImage(image, 0, 0, canvas2.width, canvas2.height);
		return await new Promise((done, fail) => canvas2.toBlob((blob) => blob ? done(blob) : fail(new Error("no picture")), "image/png"));
	} finally {
		URL.revokeObjectURL(url);
	}
}

// src/ui/Figure.tsx
function Figure({ app, id, title, caption, readout, table: table2, numbers, python, children }) {
	const body = T2(null);
	const [open, setOpen] = d2(null);
	const name2 = `vitrail-${id}`;
	const held2 = numbers ?? (table2 && (async () => columnsOf(await table2())));
	const toggle = (which) => () => setOpen(open === which ? null : which);
	const save = (make, suffix) => () => {
		make().then(
			(blob) => {
				download(app, blob, `${name2}.${suffix}`);
				app.say(`${title} saved as ${suffix}.`);
			},
			(error) => app.say(`Not saved: ${String(error)}`)
		);
	};
	return a4("figure", { class: "figure", "data-figure": id, children: [
		a4("h3", { class: "figure-title", children: title }),
		a4("div", { class: "figure-body", ref: body, children }),
		readout !== void 0 && a4("p", { class: "readout", "data-readout": true, children: readout }),
		caption && a4("figcaption", { class: "note", children: caption }),
		a4("div", { class: "tools", role: "group", "aria-label": `Take along: ${title}`, children: [
			table2 && a4("button", { type: "button", "aria-expanded": open === "table", "data-tool": "table", onClick: toggle("table"), children: "Table" }),
			python && a4("button", { type: "button", "aria-expanded": open === "python", "data-tool": "python", onClick: toggle("python"), children: "Python" }),
			a4("button", { type: "button", "data-tool": "png", onClick: save(() => pictureOf(body.current), "png"), children: "PNG" }),
			a4("button", { type: "button", "data-tool": "svg", onClick: save(async () => vectorOf(body.current, title), "svg"), children: "SVG" }),
			held2 && a4("button", { type: "button", "data-tool": "npy", onClick: save(async () => npy(await held2()), "npy"), children: "NPY" })
		] }),
		open === "table" && table2 && a4(DataTable, { title, table: table2 }),
		open === "python" && python && a4(Code, { app, code: python() })
	] });
}
function columnsOf({ columns, rows }) {
	const kept = columns.map((_4, j3) => j3).filter((j3) => rows.every((row) => typeof row[j3] === "number"));
	return { shape: [rows.length, kept.length], data: Float32Array.from(rows.flatMap((row) => kept.map((j3) => row[j3]))) };
}
function DataTable({ title, table: table2 }) {
	const [data, setData] = d2(null);
	A2(() => {
		let wanted = true;
		void Promise.resolve(table2()).then((made) => {
			if (wanted) setData(made);
		});
		return () => {
			wanted = false;
		};
	}, [table2]);
	if (!data) return null;
	return a4("div", { class: "scroll", tabIndex: 0, role: "region", "aria-label": `Numbers of ${title}`, children: a4("table", { class: "numbers", children: [
		a4("thead", { children: a4("tr", { children: data.columns.map((column) => a4("th", { scope: "col", children: column }, column)) }) }),
		a4("tbody", { children: data.rows.map((row, i4) => a4("tr", { ...data.data?.(i4), children: row.map((cell2, j3) => a4("td", { class: typeof cell2 === "number" ? "number" : "", children: typeof cell2 === "number" ? Number(cell2.toPrecision(6)) : cell2 }, j3)) }, i4)) })
	] }) });
}
function Code({ app, code }) {
	const text = T2(null);
	const copy2 = async () => {
		try {
			await navigator.clipboard.writeText(code);
			app.say("Python copied.");
		} catch {
			const selection2 = getSelection();
			if (selection2 && text.current) {
				selection2.removeAllRanges();
				selection2.selectAllChildren(text.current);
			}
			app.say("Selected; copy it with your keyboard.");
		}
	};
	return a4("div", { class: "code", children: [
		a4("button", { type: "button", "data-tool": "copy", onClick: () => void copy2(), children: "Copy" }),
		a4("pre", { ref: text, tabIndex: 0, "data-python": true, children: code })
	] });
}

// src/ui/Intervals.tsx
var NAMES = 180;
function Intervals({ label: label2, rows }) {
	const [frame, width] = useWidth2();
	const above = NAMES > width * 0.5;
	const [left, step3] = above ? [12, 40] : [NAMES, 24];
	const all = rows.flatMap(({ interval }) => interval);
	const across = linear2().domain([Math.min(...all), Math.max(...all)]).nice(5).range([left, width - 12]);
	const height = rows.length * step3 + 40;
	const random = rows.find(({ id }) => id === "random")?.interval[0];
	const said = rows.map(({ title, interval: [mean, low, high] }) => `${title} ${mean.toFixed(3)}, from ${low.toFixed(3)} to ${high.toFixed(3)}`).join("; ");
	return a4("div", { class: "chart intervals", ref: frame, children: a4("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${label2}: ${said}`, children: [
		random !== void 0 && a4("line", { class: "cursor", x1: across(random), x2: across(random), y1: 6, y2: rows.length * step3 + 6 }),
		rows.map(({ id, title, interval: [mean, low, high] }, i4) => {
			const y5 = i4 * step3 + (above ? 32 : 18);
			return a4("g", { class: "whisker", "data-method": id, children: [
				a4("text", { class: "tick", x: above ? left : left - 8, y: above ? y5 - 12 : y5 + 4, "text-anchor": above ? "start" : "end", children: title }),
				a4("line", { x1: across(low), x2: across(high), y1: y5, y2: y5 }),
				a4("line", { x1: across(low), x2: across(low), y1: y5 - 5, y2: y5 + 5 }),
				a4("line", { x1: across(high), x2: across(high), y1: y5 - 5, y2: y5 + 5 }),
				a4("circle", { cx: across(mean), cy: y5, r: "4.5", children: a4("title", { children: [
					title,
					": ",
					mean.toFixed(3)
				] }) })
			] }, id);
		}),
		across.ticks(4).map((n3) => a4("text", { class: "tick", x: across(n3), y: height - 20, "text-anchor": "middle", children: n3 }, n3)),
		a4("text", { class: "axis", x: (left + width) / 2, y: height - 4, "text-anchor": "middle", children: label2 })
	] }) });
}

// src/ui/Pending.tsx
var isPending = ({ pending }, part) => pending.includes(part);
function Pending({ what }) {
	return a4("p", { class: "note part", "data-pending": true, children: [
		what,
		" not there yet: the run that computes this has not finished. Once it has, it appears here by itself."
	] });
}

// src/views/audit.tsx
function Audit({ app }) {
	const { manifest } = app.trace.value;
	return a4("div", { class: "audit", children: [
		manifest.faithfulness ? a4(Trust, { app, found: manifest.faithfulness }) : a4($, { children: [
			isPending(manifest, "faithfulness") ? a4(Pending, { what: "Scores of the maps are" }) : a4(Unscored, { manifest }),
			a4(Leaks, { app })
		] }),
		a4(Checks, { app })
	] });
}
var audit = { id: "audit", title: "Audit", Component: Audit };
function Unscored({ manifest }) {
	return a4("section", { class: "part", "data-unscored": true, children: [
		a4("h3", { children: "How far can the maps be trusted?" }),
		a4("p", { children: [
			"No map was scored on this image",
			manifest.model.classes ? "" : ": the model has no classes, so there is no answer to watch fall",
			". Take every map as an untested claim about routing."
		] })
	] });
}
function Trust({ app, found }) {
	const trace = app.trace.value;
	const { value: drawn, error } = useLoaded(() => curves(trace), [trace]);
	const { manifest } = trace;
	const chosen = found.curves.some(({ method }) => method === app.state.method.value) ? app.state.method.value : found.curves[0]?.method ?? "";
	const said = verdict(manifest, chosen);
	const study = found.study?.rows.find(({ method }) => method === chosen);
	const centre = found.study?.rows.find(({ method }) => method === "centre");
	const central = study && centre && study.deletion[0] < centre.deletion[0] && study.insertion[0] > centre.insertion[0];
	return a4("section", { class: "part trust", children: [
		a4("h3", { children: "How far can the maps be trusted?" }),
		a4("p", { class: "lead", "data-verdict": said ? String(said.deletion && said.insertion) : "", children: [
			said && a4($, { children: [
				a4("b", { children: titleOf(manifest, chosen) }),
				" is ",
				said.words,
				". "
			] }),
			study && found.study && a4($, { children: [
				"Over ",
				count(found.study.images),
				" images of ",
				found.study.dataset,
				" it ",
				a4("b", { children: study.beats_random ? "beats random" : "does not beat random" }),
				centre && (central ? ", and on average the centre outwards" : ", but not the centre outwards"),
				". "
			] }),
			"A map claims that its brightest pixels matter most. The test: hide them first and watch the answer fall; show them first and watch it rise."
		] }),
		error && a4("p", { class: "note", children: error }),
		drawn && a4("div", { class: "columns", children: [
			a4(CurveFigure, { app, drawn, which: "deletion", chosen }),
			a4(CurveFigure, { app, drawn, which: "insertion", chosen })
		] }),
		a4("div", { class: "columns", children: [
			a4("div", { class: "beneath", children: [
				a4(ScoreTable, { app, chosen }),
				a4(Leaks, { app })
			] }),
			found.study && a4(Study, { app, study: found.study, manifest })
		] })
	] });
}
var WORDS = {
	deletion: { title: "Hide the brightest first", x: "share of the pixels hidden", better: "the lower, the better" },
	insertion: { title: "Show the brightest first", x: "share of the pixels shown", better: "the higher, the better" }
};
function CurveFigure({ app, drawn, which, chosen }) {
	const { title, x: x3, better } = WORDS[which];
	const line = (curve, tone2, more = {}) => ({ id: curve.id, label: curve.title, points: curve[which], tone: tone2, ...more });
	const lines3 = [
		line(drawn.random, 7, { dashed: true }),
		line(drawn.centre, 6, { dashed: true }),
		...drawn.methods.map((curve, tone2) => line(curve, tone2, { strong: curve.id === chosen }))
	];
	const { manifest } = app.trace.value;
	const areas = scores(manifest).map((score) => `${score.title} ${score[which].toFixed(3)}`).join(", ");
	return a4(
		Figure,
		{
			app,
			id: which,
			title,
			python: () => [
				prelude(app),
				'found = report.manifest["faithfulness"]',
				`curve = report.arrays.get("curve/${chosen}")[${which === "deletion" ? 0 : 1}]  # a probability for each of found["steps"]`
			].join("\n"),
			caption: `Probability of the answer; ${better}. The grey band holds random orders. Areas: ${areas}.`,
			table: () => ({
				columns: [x3, ...lines3.map(({ label: label2 }) => label2), "random, low", "random, high"],
				rows: drawn.random[which].map(([at], i4) => [at, ...lines3.map(({ points }) => points[i4][1]), drawn.low[which][i4][1], drawn.high[which][i4][1]])
			}),
			numbers: () => ({ shape: [lines3.length, lines3[0].points.length], data: Float32Array.from(lines3.flatMap(({ points }) => points.map(([, p5]) => p5))) }),
			children: a4(
				Chart,
				{
					title: `${title}. ${areas}.`,
					lines: lines3,
					height: 250,
					band: { low: drawn.low[which], high: drawn.high[which], label: "random orders" },
					x: { label: x3, domain: [0, 1], ticks: [0, 0.25, 0.5, 0.75, 1], format: (n3) => `${Math.round(100 * n3)} %` },
					y: { label: "probability of the answer", domain: [0, 1], format: (n3) => String(Number(n3.toFixed(2))) }
				}
			)
		}
	);
}
function ScoreTable({ app, chosen }) {
	const { manifest } = app.trace.value;
	const rows = scores(manifest);
	return a4("div", { children: [
		a4("h4", { children: "Areas under the curves, this image" }),
		a4("table", { class: "plain", "data-scores": true, children: [
			a4("thead", { children: a4("tr", { children: [
				a4("th", { scope: "col", children: "map" }),
				a4("th", { scope: "col", children: "hide first ↓" }),
				a4("th", { scope: "col", children: "show first ↑" }),
				a4("th", { scope: "col", children: "against random" })
			] }) }),
			a4("tbody", { children: rows.map(({ id, title, deletion, insertion }) => {
				const said = verdict(manifest, id);
				return a4("tr", { class: id === chosen ? "chosen" : "", "data-method": id, "data-deletion": deletion, "data-insertion": insertion, children: [
					a4("th", { scope: "row", children: said ? a4("button", { type: "button", class: "link", "aria-pressed": id === chosen, onClick: () => {
						app.state.method.value = id;
					}, children: title }) : title }),
					a4("td", { class: "number", children: deletion.toFixed(3) }),
					a4("td", { class: "number", children: insertion.toFixed(3) }),
					a4("td", { children: said ? `${said.deletion ? "✓" : "✗"} hide, ${said.insertion ? "✓" : "✗"} show` : "reference" })
				] }, id);
			}) })
		] })
	] });
}
function Study({ app, study, manifest }) {
	const rows = study.rows.map((row) => ({ ...row, title: titleOf(manifest, row.method) }));
	const reference = (method) => method === "random" || method === "centre";
	return a4(
		Figure,
		{
			app,
			id: "study",
			title: `The same over ${count(study.images)} images`,
			caption: `${capital(study.dataset)}; mean areas with their confidence intervals. ${rows.filter(({ method }) => !reference(method)).map(({ title, beats_random: beats }) => `${title} ${beats ? "beats random" : "does not beat random"}`).join("; ")}.`,
			table: () => ({
				columns: ["map", "hide first", "low", "high", "show first", "low", "high", "beats random"],
				rows: rows.map(({ title, deletion, insertion, beats_random: beats }) => [title, ...deletion, ...insertion, beats ? "yes" : "no"]),
				data: (row) => ({ "data-method": rows[row].method })
			}),
			python: () => `${prelude(app)}
study = report.manifest["faithfulness"]["study"]`,
			children: [
				a4(Intervals, { label: "hide first: lower is better", rows: rows.map(({ method, title, deletion }) => ({ id: method, title, interval: deletion })) }),
				a4(Intervals, { label: "show first: higher is better", rows: rows.map(({ method, title, insertion }) => ({ id: method, title, interval: insertion })) })
			]
		}
	);
}
function Leaks({ app }) {
	const trace = app.trace.value;
	const { value: found, error } = useLoaded(() => leaks(trace), [trace]);
	const worst = (of) => Math.max(0, ...(found ?? []).flatMap((leak) => leak[of]));
	const leaking = (found ?? []).filter(({ padding, wrap }) => Math.max(0, ...padding, ...wrap) > 0);
	const summary = found && `${sentence("padding", worst("padding"))} ${sentence("keys across the edge, which a roll brought near", worst("wrap"))}`;
	return a4("section", { class: "part leaks", children: a4(
		Figure,
		{
			app,
			id: "leaks",
			title: "Does attention leak?",
			caption: leaking.length ? summary : void 0,
			python: () => `${prelude(app)}
from vitrail.explain import attention_stats
leaks = [attention_stats(block)[:, 3:] for block in trace.blocks]  # heads; to padding, across the edge`,
			table: () => ({
				columns: ["block", "head", "to padding", "across the edge"],
				rows: (found ?? []).flatMap(({ block, padding, wrap }) => padding.map((p5, head) => [blockName(trace.manifest.blocks[block]), head + 1, p5, wrap[head]])),
				data: (row) => ({ "data-leak": row })
			}),
			numbers: () => ({ shape: [2, (found ?? []).reduce((n3, { padding }) => n3 + padding.length, 0)], data: Float32Array.from([...(found ?? []).flatMap(({ padding }) => padding), ...(found ?? []).flatMap(({ wrap }) => wrap)]) }),
			children: [
				error && a4("p", { class: "note", children: error }),
				summary && !leaking.length && a4("p", { class: "note", children: summary }),
				leaking.length > 0 && a4("table", { class: "plain leak-table", children: [
					a4("thead", { children: a4("tr", { children: [
						a4("th", { scope: "col", children: "block" }),
						a4("th", { scope: "col", children: "to padding" }),
						a4("th", { scope: "col", children: "across the edge" })
					] }) }),
					a4("tbody", { children: leaking.map((leak) => a4("tr", { "data-block": leak.block, children: [
						a4("th", { scope: "row", children: blockName(trace.manifest.blocks[leak.block]) }),
						a4("td", { children: a4(Strip2, { values: leak.padding, name: "padding" }) }),
						a4("td", { children: a4(Strip2, { values: leak.wrap, name: "wrap" }) })
					] }, leak.block)) })
				] })
			]
		}
	) });
}
var sentence = (what, worst) => worst === 0 ? `No head gives any weight to ${what}.` : `Some head gives up to ${share(worst)} of its weight to ${what}, on average over its queries.`;
function Strip2({ values, name: name2 }) {
	const worst = Math.max(0, ...values);
	return a4("span", { class: "strip", "data-leak": name2, "data-worst": worst, children: [
		a4("span", { class: "cells", "aria-hidden": "true", children: values.map((value2, head) => a4("i", { title: `head ${head + 1}: ${share(value2)}`, style: { opacity: value2 > 0 ? 0.15 + 0.85 * Math.min(1, value2 / 0.2) : 0 } }, head)) }),
		a4("span", { class: worst > 0 ? "number" : "number soft", children: worst > 0 ? `up to ${share(worst)}` : "none" })
	] });
}
function Checks({ app }) {
	const trace = app.trace.value;
	const { checks } = trace.manifest;
	const { value: decoded, error } = useLoaded(() => sums(trace), [trace]);
	const rows = [
		...checks.map(({ id, title, value: value2, limit, passed, text }) => ({ id, title, passed, text, value: typeof value2 === "number" ? brief(value2) : value2, limit })),
		decoded ? {
			id: "decoded",
			title: "Stored rows sum to one",
			passed: decoded.worst < 1e-5,
			value: `${count(decoded.rows)} rows, off by ${brief(decoded.worst)} at most`,
			limit: 1e-5,
			text: "Every stored row of weights was decoded again just now, in this page."
		} : { id: "decoded", title: "Stored rows sum to one", passed: null, value: error ?? "decoding…", limit: 1e-5, text: "" }
	];
	return a4("section", { class: "part checks", children: [
		a4("h3", { children: "What was checked" }),
		a4("ul", { children: rows.map(({ id, title, passed, value: value2, limit, text }) => a4("li", { "data-check": id, "data-passed": String(passed), children: [
			a4("span", { class: `sign ${passed === null ? "noted" : passed ? "passed" : "failed"}`, "aria-hidden": "true", children: passed === null ? "·" : passed ? "✓" : "✗" }),
			a4("span", { children: [
				a4("b", { children: title }),
				" ",
				a4("span", { class: "away", children: passed === null ? "for the record" : passed ? "passed" : "failed" })
			] }),
			a4("span", { class: "value", children: [
				value2,
				limit !== null && ` (limit ${brief(limit)})`
			] }),
			text && a4("span", { class: "note", children: text })
		] }, id)) }),
		isPending(trace.manifest, "checks") && a4(Pending, { what: "The comparison with a run without hooks is" })
	] });
}

// src/query.ts
function useQuery(app, { hover, heads: heads2 = false } = {}) {
	const made = w2(() => ({ queryData: y3(null), error: y3(null) }), []);
	F2(() => {
		let wish = 0;
		const stop = x2(() => {
			const mine = ++wish;
			const [trace, block] = [app.trace.value, app.state.block.value];
			const facts = trace.manifest.blocks[block];
			const pointed = hover?.value ?? -1;
			const hovered = pointed >= 0 && pointed < facts.prefix + tokensOf(facts);
			const wanted = hovered ? pointed : app.state.token.value;
			const each = heads2 || app.state.head.value >= 0 || facts.attention !== null;
			queryOf(trace, block, wanted, each).then(
				(found) => {
					if (mine === wish) {
						made.error.value = null;
						made.queryData.value = { ...found, hovered };
					}
				},
				(error) => {
					if (mine === wish) made.error.value = error instanceof Error ? error.message : String(error);
				}
			);
		});
		return () => {
			wish = -1;
			stop();
		};
	}, [app]);
	return made;
}
async function queryOf(trace, block, wanted, heads2) {
	const view = trace.block(block);
	const some = view.facts.chosen !== null && !trace.manifest.on_demand && view.facts.attention === null;
	const [grid, token] = await Promise.all([view.load(), some ? trace.nearest(block, wanted) : wanted]);
	const row = await trace.row(block, token, heads2);
	return { trace, block, facts: view.facts, grid, row, slot: grid.slotOf[token], wanted };
}
var weightsOf = (row, head) => row.heads?.[head] ?? row.mean;
function useFrames(draw, needs) {
	F2(() => {
		let frame = 0;
		let paint;
		const stop = x2(() => {
			paint = draw();
			if (!frame && paint) frame = requestAnimationFrame(() => {
				frame = 0;
				paint?.();
			});
		});
		return () => {
			stop();
			cancelAnimationFrame(frame);
		};
	}, needs);
}
function factsOf({ facts, grid, row, slot }, head, input) {
	const group = grid.group(slot);
	const weights = weightsOf(row, head);
	const parts = grid.parts(group);
	const real = row.keys.reduce((sum, token) => sum + (token >= 0 ? 1 : 0), 0);
	const masked = row.keys.reduce((sum, token, key) => sum + (token >= 0 && !row.allowed[key] ? 1 : 0), 0);
	const padding = row.keys.length - real;
	const sumOf = (is) => weights.reduce((sum, weight, key) => sum + (is(row.keys[key]) ? weight : 0), 0);
	const entropy = weights.reduce((sum, p5) => sum - (p5 > 0 ? p5 * Math.log(p5) : 0), 0);
	const far = distance(facts, grid, slot, weights);
	const part = parts.length > 1 ? `, part ${parts.indexOf(grid.regionOf(slot)) + 1} of ${parts.length}` : "";
	const list = [
		{ name: "token", value: placeWords(facts, row.token) },
		row.token < grid.prefix ? null : { name: "pixels", value: pixelWords(facts, grid, row.token, input) },
		facts.group ? { name: facts.group, value: `${group + 1} of ${facts.groups}${part}` } : null,
		{ name: "keys", value: keysWords(real - masked, facts.cut || masked ? masked : null, padding) },
		{ name: "spread", value: `as if over ${Math.exp(entropy).toFixed(1)} keys evenly` },
		far === null ? null : { name: "distance", value: `${far.toFixed(1)} pixels on average` },
		sumOf((token) => token < 0) > 0 ? { name: "to padding", value: share(sumOf((token) => token < 0)) } : null,
		grid.prefix ? { name: "to prefix", value: share(sumOf((token) => grid.isPrefix(token))) } : null,
		{ name: "head", value: head < 0 || !row.heads ? `mean of ${facts.heads}` : `${head + 1} of ${facts.heads}` }
	];
	return list.filter((fact) => fact !== null);
}
var keysWords = (seen, masked, padding) => `${seen} seen${masked === null ? "" : `, ${masked} masked`}${padding ? `, ${padding} padding` : ""}`;
function placeWords(block, token) {
	if (token < block.prefix) return `prefix token ${token + 1} of ${block.prefix}, without a place`;
	const [rows, columns] = block.spatial;
	const at = token - block.prefix;
	return `row ${Math.floor(at / columns) + 1} of ${rows}, column ${at % columns + 1} of ${columns}`;
}
function pixelWords({ stride }, grid, token, input) {
	const [y5, x3] = grid.position(token);
	const last = [y5, x3].map((p5, axis) => Math.min(input[axis], (p5 + 1) * stride[axis]) - 1);
	return `rows ${y5 * stride[0]}–${last[0]}, columns ${x3 * stride[1]}–${last[1]}`;
}
function distance({ stride, prefix }, grid, slot, weights) {
	const here = grid.place(slot);
	if (!here) return null;
	const group = grid.group(slot);
	let [sum, placed] = [0, 0];
	weights.forEach((weight, key) => {
		if (!weight || grid.key(group, key) < prefix) return;
		const box = grid.box(group, key);
		if (!box) return;
		placed += weight;
		const [down, right] = [0, 1].map((axis) => ((box[axis] + box[axis + 2] - 1) / 2 - here[axis]) * stride[axis]);
		sum += weight * Math.hypot(down, right);
	});
	return placed ? sum / placed : 0;
}
function keyName({ facts, grid, slot }, key) {
	const group = grid.group(slot);
	const token = grid.key(group, key);
	const box = token >= grid.total ? grid.box(group, key) : null;
	if (!box) return tokenWords(facts, token);
	const span = (from, to) => to - from > 1 ? `s ${from + 1}–${to}` : ` ${to}`;
	return `row${span(box[0], box[2])}, column${span(box[1], box[3])}, pooled`;
}
function spoken(queryData, head, input) {
	const weights = weightsOf(queryData.row, head);
	const best = weights.reduce((top, weight, key) => weight > weights[top] ? key : top, 0);
	const { facts } = queryData;
	const stated = factsOf(queryData, head, input).filter(({ name: name2 }) => ["token", facts.group, "keys", "head"].includes(name2));
	return `${blockName(facts)}, ${facts.title}, ${times(facts.spatial)} tokens. ${stated.map(({ name: name2, value: value2 }) => `${name2} ${value2}`).join(". ")}. Strongest: ${keyName(queryData, best)}, ${share(weights[best])}.`;
}

// src/camera.ts
var WHOLE = { factor: 1, origin: [0, 0] };
var clamp = (n3, low, high) => Math.min(high, Math.max(low, n3));
function fit(grid, stride, width, highest) {
	const [high, wide] = grid.padded.map((n3, axis) => n3 * stride[axis]);
	const scale2 = Math.max(0.01, Math.min(width / wide, highest / high));
	return { width: wide * scale2, height: high * scale2, unit: [stride[0] * scale2, stride[1] * scale2] };
}
var mostZoom = ({ unit: unit2 }) => Math.max(4, Math.ceil(44 / Math.min(...unit2)));
function zoomAt(zoom2, factor2, most, at = [0.5, 0.5]) {
	const next = clamp(factor2, 1, most);
	const origin = zoom2.origin.map((from, axis) => from + at[axis] / zoom2.factor - at[axis] / next);
	return held({ factor: next, origin });
}
function pan(zoom2, [down, right]) {
	return held({ ...zoom2, origin: [zoom2.origin[0] + down / zoom2.factor, zoom2.origin[1] + right / zoom2.factor] });
}
function held({ factor: factor2, origin }) {
	const limit = 1 - 1 / factor2;
	return { factor: factor2, origin: [clamp(origin[0], 0, limit), clamp(origin[1], 0, limit)] };
}
function reveal(zoom2, grid, place) {
	const seen = 1 / zoom2.factor;
	const origin = zoom2.origin.map((from, axis) => {
		const [low, high] = [place[axis] / grid.padded[axis], (place[axis] + 1) / grid.padded[axis]];
		return low < from ? low : high > from + seen ? high - seen : from;
	});
	return held({ ...zoom2, origin });
}
function cellAt(grid, zoom2, roll, at) {
	return at.map((p5, axis) => {
		const n3 = grid.padded[axis];
		const place = (zoom2.origin[axis] + p5 / zoom2.factor) * n3 + roll * grid.shift[axis];
		return Math.floor((place % n3 + n3) % n3);
	});
}
function drawnAt(grid, [y5, x3], roll) {
	const by = grid.shift.map((n3) => Math.round(roll * n3));
	return [(y5 - by[0] + grid.padded[0]) % grid.padded[0], (x3 - by[1] + grid.padded[1]) % grid.padded[1]];
}

// src/scene.ts
var DARK = "rgb(0 0 0 / .55)";
function fillPath(context, tile2, path) {
	const pattern = context.createPattern(tile2, "repeat");
	if (!pattern) return;
	context.fillStyle = pattern;
	context.fill(path);
}
function linePath(edges) {
	const path = new Path2D();
	for (const [y0, x0, y1, x1] of edges) {
		path.moveTo(x0, y0);
		path.lineTo(x1, y1);
	}
	return path;
}
function boxPath(boxes) {
	const path = new Path2D();
	for (const [y0, x0, y1, x1] of boxes) path.rect(x0, y0, x1 - x0, y1 - y0);
	return path;
}
function strokePath(context, path, { ink, width, dash = [], halo = 2 }) {
	context.lineCap = dash.length ? "butt" : "square";
	context.setLineDash([]);
	context.strokeStyle = DARK;
	context.lineWidth = width + halo;
	if (halo) context.stroke(path);
	context.setLineDash(dash);
	context.strokeStyle = ink;
	context.lineWidth = width;
	context.stroke(path);
	context.setLineDash([]);
}
var Painter = class {
	still = null;
	stillName = "";
	heat = document.createElement("canvas");
	marks = null;
	marksOf = null;
	marksStrength = -1;
	borderPaths = /* @__PURE__ */ new WeakMap();
	paint(canvas2, scene, camera) {
		const context = pen(canvas2, camera.width, camera.height);
		const copies = this.copies(scene.grid, camera);
		this.background(context, scene, camera, copies);
		if (!scene.queryRow) return;
		const marks2 = this.marksFor(scene, scene.queryRow);
		context.save();
		this.clip(context, scene.grid, camera);
		for (const at of copies) this.overlay(context, scene, scene.queryRow, marks2, camera, at);
		context.restore();
	}
	// Where the picture's corner lies, in CSS pixels, for each copy of it that can be seen.
	copies(grid, { unit: unit2, origin, roll }) {
		const starts = [0, 1].map((axis) => {
			const moved2 = roll * grid.shift[axis];
			const places = moved2 > 0 ? [-moved2, grid.padded[axis] - moved2] : [0];
			return places.map((from) => (from - origin[axis]) * unit2[axis]);
		});
		return starts[0].flatMap((y5) => starts[1].map((x3) => [y5, x3]));
	}
	clip(context, grid, { unit: unit2, origin }) {
		context.beginPath();
		context.rect(-origin[1] * unit2[1], -origin[0] * unit2[0], grid.padded[1] * unit2[1], grid.padded[0] * unit2[0]);
		context.clip();
	}
	// Photo, padding, tokens and borders. At rest and not enlarged they are painted once and moved.
	background(context, scene, camera, copies) {
		const { grid } = scene;
		const whole = Math.abs(grid.padded[1] * camera.unit[1] - camera.width) < 1;
		context.save();
		this.clip(context, grid, camera);
		if (whole) {
			const still = this.stillFor(scene, camera);
			for (const [y5, x3] of copies) context.drawImage(still, x3, y5, camera.width, camera.height);
		} else {
			for (const at of copies) this.ground(context, scene, camera, at);
		}
		const before = this.pathsFor(grid).before;
		const corner = [-camera.origin[0] * camera.unit[0], -camera.origin[1] * camera.unit[1]];
		const fixed = transformed(before, camera.unit, corner);
		strokePath(context, fixed, { ink: MARK, width: 1, dash: [2, 4], halo: 0 });
		context.restore();
	}
	stillFor(scene, camera) {
		const name2 = [scene.block, camera.width, camera.height, scene.pixelated, scene.photo.width, globalThis.devicePixelRatio].join();
		if (!this.still || this.stillName !== name2) {
			this.still ??= document.createElement("canvas");
			this.ground(pen(this.still, camera.width, camera.height), scene, camera, [0, 0]);
			this.stillName = name2;
		}
		return this.still;
	}
	ground(context, scene, { unit: unit2 }, [top, left]) {
		const { grid, extent } = scene;
		const [high, wide] = [grid.padded[0] * unit2[0], grid.padded[1] * unit2[1]];
		const rect = (...box) => transformed(boxPath([box]), unit2, [top, left]);
		const lines3 = (path, line) => strokePath(context, transformed(path, unit2, [top, left]), line);
		context.save();
		context.beginPath();
		context.rect(left, top, wide, high);
		context.clip();
		if (extent[0] < grid.padded[0] || extent[1] < grid.padded[1]) fillPath(context, DOTS(), rect(0, 0, ...grid.padded));
		context.imageSmoothingEnabled = !scene.pixelated;
		context.imageSmoothingQuality = "high";
		context.drawImage(scene.photo, left, top, extent[1] * unit2[1], extent[0] * unit2[0]);
		if (grid.padded[0] > grid.rows) fillPath(context, DOTS(), rect(grid.rows, 0, ...grid.padded));
		if (grid.padded[1] > grid.columns) fillPath(context, DOTS(), rect(0, grid.columns, ...grid.padded));
		if (Math.min(...unit2) >= 7) lines3(linePath(tokenLines(grid.padded)), { ink: "rgb(255 255 255 / .2)", width: 1, halo: 0 });
		lines3(this.pathsFor(grid).borders, { ink: "rgb(255 255 255 / .85)", width: 1, halo: 1 });
		context.restore();
	}
	pathsFor(grid) {
		let paths = this.borderPaths.get(grid);
		if (!paths) {
			paths = { borders: linePath(grid.borders()), before: linePath(grid.unshifted()) };
			this.borderPaths.set(grid, paths);
		}
		return paths;
	}
	marksFor(scene, queryRow) {
		if (this.marks && this.marksOf === queryRow && this.marksStrength === scene.strength) return this.marks;
		const { grid } = scene;
		const group = grid.group(queryRow.slot);
		const { cover, first, cells: cells2, pooled } = grid.spots(group);
		const at = (y5, x3) => cover[y5 * grid.padded[1] + x3];
		const key = (y5, x3) => first[at(y5, x3)];
		const part = (y5, x3) => at(y5, x3) < 0 ? null : grid.region(group, key(y5, x3));
		const seen = cells2.filter(([y5, x3]) => grid.sees(queryRow.slot, group, key(y5, x3)));
		const masked = cells2.filter(([y5, x3]) => grid.key(group, key(y5, x3)) >= 0 && !grid.sees(queryRow.slot, group, key(y5, x3)));
		const own = grid.place(queryRow.slot);
		this.paintHeat(scene, queryRow);
		this.marks = {
			heat: this.heat,
			masked: boxPath(masked.map(([y5, x3]) => [y5, x3, y5 + 1, x3 + 1])),
			pooled: pooled ? linePath(grid.edges(at, cells2)) : null,
			seams: seen.length < cells2.length ? grid.edges(part, cells2) : [],
			own: grid.edges(part, seen),
			self: own && boxPath([[own[0], own[1], own[0] + 1, own[1] + 1]])
		};
		[this.marksOf, this.marksStrength] = [queryRow, scene.strength];
		return this.marks;
	}
	// One pixel a cell: the colour of its keys' weight, and a shade over all that is no key.
	paintHeat({ grid, strength }, queryRow) {
		const group = grid.group(queryRow.slot);
		const { cover, first } = grid.spots(group);
		const sums2 = spotWeights(grid, group, queryRow.row);
		const [high, wide] = grid.padded;
		if (this.heat.width !== wide) this.heat.width = wide;
		if (this.heat.height !== high) this.heat.height = high;
		const context = this.heat.getContext("2d");
		const image = context.createImageData(wide, high);
		const pixels2 = new Uint32Array(image.data.buffer);
		const inks = Uint32Array.from(sums2, (weight, spot) => {
			if (!grid.sees(queryRow.slot, group, first[spot])) return 0;
			if (grid.key(group, first[spot]) < 0 && weight === 0) return 0;
			const [r4, g5, b4] = colour(weight / (queryRow.most || 1));
			return (Math.round(255 * strength) << 24 | b4 << 16 | g5 << 8 | r4) >>> 0;
		});
		const shade = (Math.round(255 * 0.34) << 24 | 18 << 16 | 10 << 8 | 12) >>> 0;
		for (let cell2 = 0; cell2 < pixels2.length; cell2++) {
			const spot = cover[cell2];
			pixels2[cell2] = spot < 0 ? shade : inks[spot];
		}
		context.putImageData(image, 0, 0);
	}
	overlay(context, { grid, key }, queryRow, marks2, { unit: unit2, origin, roll }, at) {
		const [top, left] = at;
		const group = grid.group(queryRow.slot);
		context.imageSmoothingEnabled = false;
		context.drawImage(marks2.heat, left, top, grid.padded[1] * unit2[1], grid.padded[0] * unit2[0]);
		const placed = (path) => transformed(path, unit2, [top, left]);
		fillPath(context, HATCH(), placed(marks2.masked));
		if (marks2.pooled) strokePath(context, placed(marks2.pooled), { ink: "rgb(255 255 255 / .4)", width: 1, halo: 0 });
		const start = [Math.round(top / unit2[0] + origin[0]), Math.round(left / unit2[1] + origin[1])];
		const framed = (edges) => placed(linePath(roll === 0 || roll === 1 ? atFrame(edges, grid, group, start) : edges));
		strokePath(context, framed(marks2.seams), { ink: "#fff", width: 2, dash: [5, 4] });
		strokePath(context, framed(marks2.own), { ink: "#fff", width: 3 });
		if (key >= 0) {
			const box = grid.box(group, key);
			if (box) strokePath(context, placed(boxPath([box])), { ink: "#fff", width: 2, dash: [3, 2] });
		}
		if (marks2.self) strokePath(context, placed(marks2.self), { ink: MARK, width: 3 });
	}
};
function atFrame(edges, grid, group, start) {
	const { cover } = grid.spots(group);
	const [high, wide] = grid.padded;
	const held2 = (y5, x3) => cover[(y5 + high) % high * wide + (x3 + wide) % wide] >= 0;
	return edges.filter(([y0, x0, y1, x1]) => {
		if (y0 === y1) {
			const at2 = y0 + start[0];
			return at2 !== 0 && at2 !== high || held2(at2 ? y0 - 1 : y0, x0);
		}
		const at = x0 + start[1];
		return at !== 0 && at !== wide || held2(y0, at ? x1 - 1 : x1);
	});
}
function spotWeights(grid, group, row) {
	const { boxes, spotOf } = grid.spots(group);
	const sums2 = new Float64Array(boxes.length);
	spotOf.forEach((spot, key) => {
		if (spot >= 0) sums2[spot] += row[key];
	});
	return sums2;
}
function transformed(path, unit2, [top, left]) {
	const placed = new Path2D();
	placed.addPath(path, new DOMMatrix([unit2[1], 0, 0, unit2[0], left, top]));
	return placed;
}
function tokenLines([rows, columns]) {
	const lines3 = [];
	for (let y5 = 1; y5 < rows; y5++) lines3.push([y5, 0, y5, columns]);
	for (let x3 = 1; x3 < columns; x3++) lines3.push([0, x3, rows, x3]);
	return lines3;
}

// src/ui/Slider.tsx
function Slider({ label: label2, value: value2, min, max, step: step3 = 1, words, onInput, disabled }) {
	const said = words ? words(value2) : String(value2);
	return a4("label", { class: "slider", children: [
		a4("span", { children: label2 }),
		a4(
			"input",
			{
				type: "range",
				min,
				max,
				step: step3,
				value: value2,
				disabled,
				"aria-valuetext": said,
				onInput: (event) => onInput(Number(event.currentTarget.value))
			}
		),
		a4("output", { children: said })
	] });
}

// src/views/controls.tsx
var ROLL = 1100;
function Controls({ app, grid, look }) {
	const { zoom: zoom2, fit: fit3 } = look;
	const most = fit3.value ? mostZoom(fit3.value) : 1;
	const { factor: factor2 } = zoom2.value;
	const enlarge = (by) => () => {
		zoom2.value = by ? zoomAt(zoom2.value, zoom2.value.factor * by, most) : WHOLE;
	};
	return a4("div", { class: "controls", children: [
		grid.rolls && a4(Roll, { app }),
		a4("div", { class: "zoom", role: "group", "aria-label": "Enlarge the picture", children: [
			a4("button", { type: "button", "data-zoom": "out", "aria-label": "Smaller", disabled: factor2 <= 1, onClick: enlarge(1 / 1.5), children: "−" }),
			a4("output", { children: [
				factor2.toFixed(1),
				"×"
			] }),
			a4("button", { type: "button", "data-zoom": "in", "aria-label": "Larger", disabled: factor2 >= most, onClick: enlarge(1.5), children: "+" }),
			factor2 > 1 && a4("button", { type: "button", "data-zoom": "whole", onClick: enlarge(0), children: "whole photo" })
		] }),
		a4(
			Slider,
			{
				label: "Heat",
				value: Math.round(100 * look.strength.value),
				min: 0,
				max: 100,
				words: (n3) => `${n3} %`,
				onInput: (n3) => {
					look.strength.value = n3 / 100;
				}
			}
		),
		a4("label", { class: "check", children: [
			a4(
				"input",
				{
					type: "checkbox",
					checked: look.pixels.value,
					onInput: (event) => {
						look.pixels.value = event.currentTarget.checked;
					}
				}
			),
			"show what the model sees"
		] }),
		a4("p", { class: "note", id: "canvas-hint", children: "Point at a token to see its keys; click or tap to keep it, then point at its keys; with a finger, slide across the picture or tap the keys cut out. Keyboard: arrows move, Home and End go to the row’s ends, Page Up and Page Down change the block, + and − enlarge, Escape lets go." })
	] });
}
function Roll({ app }) {
	const { shift } = app.state;
	const frame = T2(0);
	A2(() => () => cancelAnimationFrame(frame.current), []);
	const play = () => {
		cancelAnimationFrame(frame.current);
		const [from, to] = [shift.value, shift.value < 0.5 ? 1 : 0];
		app.say(to ? "Rolled, as it is computed." : "Back at the photo’s place.");
		if (app.reduced) {
			shift.value = to;
			return;
		}
		const start = performance.now();
		const go2 = (now) => {
			const t4 = Math.min(1, Math.max(0, (now - start) / ROLL));
			shift.value = from + (to - from) * (t4 * t4 * (3 - 2 * t4));
			if (t4 < 1) frame.current = requestAnimationFrame(go2);
		};
		frame.current = requestAnimationFrame(go2);
	};
	const words = (n3) => n3 <= 0 ? "the photo’s place" : n3 >= 100 ? "as computed" : `${n3} %`;
	return a4("div", { class: "roll", children: [
		a4(
			Slider,
			{
				label: "Roll the shift",
				value: Math.round(100 * shift.value),
				min: 0,
				max: 100,
				words,
				onInput: (n3) => {
					cancelAnimationFrame(frame.current);
					shift.value = n3 / 100;
				}
			}
		),
		a4("button", { type: "button", "data-roll": true, onClick: play, children: shift.value < 0.5 ? "Roll it" : "Roll back" })
	] });
}
var STOPS = Array.from({ length: 11 }, (_4, i4) => i4 / 10);
function Legend({ queryData, head }) {
	const { grid, row, slot } = queryData;
	const weights = weightsOf(row, head);
	const most = Math.max(greatest(weights), greatest(spotWeights(grid, grid.group(slot), weights)));
	const masked = row.keys.some((token, key) => token >= 0 && !row.allowed[key]);
	const padded = grid.padded[0] * grid.padded[1] > grid.rows * grid.columns;
	return a4("div", { class: "legend", children: [
		a4("svg", { class: "scale", viewBox: "0 0 220 26", role: "img", "aria-label": `Colours: weights from 0 to ${share(most)}`, children: [
			a4("defs", { children: a4("linearGradient", { id: "scale-weight", children: STOPS.map((at) => a4("stop", { offset: at, "stop-color": css(colour(at)) }, at)) }) }),
			a4("rect", { width: "220", height: "10", rx: "3", fill: "url(#scale-weight)" }),
			a4("text", { x: "0", y: "23", "font-size": "11", children: "0 %" }),
			a4("text", { x: "110", y: "23", "font-size": "11", "text-anchor": "middle", children: "weight" }),
			a4("text", { x: "220", y: "23", "font-size": "11", "text-anchor": "end", children: share(most) })
		] }),
		a4("p", { class: "swatches", children: [
			a4("span", { children: [
				a4("i", { class: "query" }),
				" query"
			] }),
			masked && a4("span", { children: [
				a4("i", { class: "hatch" }),
				" masked"
			] }),
			padded && a4("span", { children: [
				a4("i", { class: "dots" }),
				" padding, no token"
			] }),
			grid.rolls && a4("span", { children: [
				a4("i", { class: "before" }),
				" borders before the shift"
			] })
		] })
	] });
}

// src/views/look.ts
var newLook = () => ({
	hover: y3(-1),
	key: y3(-1),
	kept: y3(false),
	zoom: y3(WHOLE),
	fit: y3(null),
	strength: y3(0.72),
	pixels: y3(false),
	spoke: y3(false)
});

// src/views/pointing.ts
var MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
var DRAG = 5;
var reads = (event, look) => event.pointerType === "touch" && look.kept.value && look.zoom.value.factor <= 1;
function listen(canvas2, app, look, queryData) {
	const ends = new AbortController();
	const on = (name2, act) => canvas2.addEventListener(name2, act, { signal: ends.signal, passive: false });
	const fingers = /* @__PURE__ */ new Map();
	let start = null;
	const shareOf = (event) => {
		const box = canvas2.getBoundingClientRect();
		return [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
	};
	const slotUnder = (event) => {
		const { grid } = queryData();
		const at = shareOf(event);
		if (at.some((p5) => p5 < 0 || p5 >= 1)) return -1;
		return grid.slotAt(...cellAt(grid, look.zoom.value, app.state.shift.value, at));
	};
	const most = () => look.fit.value ? mostZoom(look.fit.value) : 1;
	const point = (event) => {
		const { grid, slot } = queryData();
		const under = slotUnder(event);
		const token = under < 0 ? -1 : grid.queries[under];
		if (!look.kept.value) {
			look.key.value = -1;
			look.hover.value = token;
			return;
		}
		look.hover.value = -1;
		const { cover, first } = grid.spots(grid.group(slot));
		const cell2 = cellAt(grid, look.zoom.value, app.state.shift.value, shareOf(event));
		const spot = under < 0 ? -1 : cover[cell2[0] * grid.padded[1] + cell2[1]];
		look.key.value = spot < 0 ? -1 : first[spot];
	};
	const drag = (event) => {
		const [before, others] = [fingers.get(event.pointerId), [...fingers].filter(([id]) => id !== event.pointerId)];
		const at = shareOf(event);
		if (!before) return;
		const step3 = [before[0] - at[0], before[1] - at[1]];
		fingers.set(event.pointerId, at);
		const { width, height } = canvas2.getBoundingClientRect();
		if (start && Math.hypot((at[0] - start.at[0]) * height, (at[1] - start.at[1]) * width) > DRAG) start.moved = true;
		if (others.length === 1) {
			const other = others[0][1];
			const far = (p5) => Math.hypot((p5[0] - other[0]) * height, (p5[1] - other[1]) * width);
			const middle = [(at[0] + other[0]) / 2, (at[1] + other[1]) / 2];
			look.zoom.value = zoomAt(look.zoom.value, look.zoom.value.factor * far(at) / Math.max(1, far(before)), most(), middle);
		} else if (start?.moved && look.zoom.value.factor > 1) look.zoom.value = pan(look.zoom.value, step3);
	};
	on("pointermove", (event) => {
		if (fingers.has(event.pointerId)) drag(event);
		if (event.pointerType !== "touch" && !(start?.moved && look.zoom.value.factor > 1)) point(event);
		else if (start?.moved && fingers.size === 1 && reads(event, look)) point(event);
	});
	on("pointerdown", (event) => {
		fingers.set(event.pointerId, shareOf(event));
		start = { at: shareOf(event), moved: fingers.size > 1 };
	});
	const lift = (event) => {
		fingers.delete(event.pointerId);
	};
	on("pointerup", lift);
	on("pointercancel", lift);
	on("pointerleave", (event) => {
		lift(event);
		look.hover.value = -1;
		if (event.pointerType !== "touch") look.key.value = -1;
	});
	on("click", (event) => {
		if (start?.moved && (look.zoom.value.factor > 1 || reads(event, look))) return;
		const { grid, row } = queryData();
		const slot = slotUnder(event);
		if (slot < 0 || grid.queries[slot] < 0) return;
		const same = look.kept.value && grid.queries[slot] === row.token;
		look.kept.value = !same;
		look.spoke.value = true;
		[look.hover.value, look.key.value] = [-1, -1];
		app.state.token.value = grid.queries[slot];
	});
	on("wheel", (event) => {
		if (!event.ctrlKey && !event.metaKey) return;
		event.preventDefault();
		look.zoom.value = zoomAt(look.zoom.value, look.zoom.value.factor * Math.exp(-event.deltaY / 300), most(), shareOf(event));
	});
	on("keydown", (event) => {
		if (press(event, app, look, queryData(), most())) event.preventDefault();
	});
	return () => ends.abort();
}
function press(event, app, look, { grid, facts, trace }, most) {
	if (event.altKey || event.ctrlKey || event.metaKey) return false;
	const { state } = app;
	const { key } = event;
	if (key === "PageUp" || key === "PageDown") {
		const next2 = state.block.value + (key === "PageUp" ? -1 : 1);
		if (trace.manifest.blocks[next2]) {
			look.spoke.value = true;
			chooseBlock(app, next2);
		}
		return true;
	}
	if (key === "+" || key === "=") {
		look.zoom.value = zoomAt(look.zoom.value, look.zoom.value.factor * 1.5, most);
		return true;
	}
	if (key === "-") {
		look.zoom.value = zoomAt(look.zoom.value, look.zoom.value.factor / 1.5, most);
		return true;
	}
	if (key === "0") {
		look.zoom.value = WHOLE;
		return true;
	}
	if (key === "Escape") {
		look.kept.value = false;
		return true;
	}
	const token = state.token.value;
	const place = grid.isPrefix(token) ? null : grid.position(token);
	let next = -1;
	if (MOVES[key]) next = place ? stepped(grid, place, MOVES[key], state.shift.value) : grid.tokenAt(0, 0);
	else if (key === "Home" || key === "End") next = grid.tokenAt(place?.[0] ?? 0, key === "Home" ? 0 : facts.spatial[1] - 1);
	else return false;
	if (next >= 0 && next !== token) {
		[look.hover.value, look.key.value, look.kept.value, look.spoke.value] = [-1, -1, true, true];
		state.token.value = next;
		look.zoom.value = reveal(look.zoom.value, grid, drawnAt(grid, grid.position(next), state.shift.value));
	}
	return true;
}
function stepped(grid, place, [down, right], roll) {
	const rolled = Math.round(roll);
	const [y5, x3] = drawnAt(grid, place, rolled);
	const [v4, u4] = [y5 + down, x3 + right];
	if (v4 < 0 || u4 < 0 || v4 >= grid.padded[0] || u4 >= grid.padded[1]) return -1;
	const slot = grid.slotAt((v4 + rolled * grid.shift[0]) % grid.padded[0], (u4 + rolled * grid.shift[1]) % grid.padded[1]);
	return grid.queries[slot] ?? -1;
}

// src/closeup.ts
var closeOf = ({ grid, slot, facts, trace }) => ({ grid, slot, stride: facts.stride, input: trace.manifest.photo.input });
function sheet(canvas2, { grid, slot, stride }, width) {
	const group = grid.group(slot);
	const table2 = grid.table(group);
	const [tall, wide] = [table2.shape[0] * stride[0], table2.shape[1] * stride[1]];
	const scale2 = Math.min(width / (table2.columns * wide), width * 1.15 / (table2.rows * tall));
	const unit2 = [tall * scale2, wide * scale2];
	canvas2.style.width = `${unit2[1] * table2.columns}px`;
	canvas2.style.height = `${unit2[0] * table2.rows}px`;
	return { context: pen(canvas2, unit2[1] * table2.columns, unit2[0] * table2.rows), table: table2, unit: unit2, group };
}
var cells = document.createElement("canvas");
function paintCells({ context, table: table2, unit: unit2, group }, { grid, slot }, values, shade) {
	const { rows, columns } = table2;
	[cells.width, cells.height] = [columns, rows];
	const pixels2 = cells.getContext("2d");
	const image = pixels2.createImageData(columns, rows);
	const bare = [];
	table2.at.forEach((at, key) => {
		if (at < 0) return;
		if (grid.sees(slot, group, key) && (grid.key(group, key) >= 0 || values[key] !== 0)) image.data.set([...shade(values[key]), 255], 4 * at);
		else bare.push(key);
	});
	pixels2.putImageData(image, 0, 0);
	context.imageSmoothingEnabled = false;
	context.drawImage(cells, 0, 0, unit2[1] * columns, unit2[0] * rows);
	for (const key of bare) {
		fillWith(context, grid.key(group, key) < 0 ? DOTS() : HATCH(), ...cellBox(table2.at[key], table2, unit2));
	}
}
function wholePart(grid, group, { rows, columns, shape: shape2, keyAt: keys, listed }) {
	const [from, to] = listed || grid.rolls ? [-1, -1] : [keys[0], keys[keys.length - 1]];
	const [first, last] = [from, to].map((key) => key < 0 || grid.key(group, key) < 0 ? null : grid.box(group, key));
	if (!first || !last || last[2] - first[0] !== rows * shape2[0] || last[3] - first[1] !== columns * shape2[1]) return null;
	return [first[0], first[1], last[2], last[3]];
}
function drawPixels(canvas2, close, image, width) {
	const { grid, stride, input } = close;
	const { context, table: table2, unit: unit2, group } = sheet(canvas2, close, width);
	const [fy, fx] = [image.height / input[0] * stride[0], image.width / input[1] * stride[1]];
	const whole = wholePart(grid, group, table2);
	if (whole) {
		const [y0, x0, y1, x1] = whole;
		const all = [0, 0, unit2[1] * table2.columns, unit2[0] * table2.rows];
		fillWith(context, DOTS(), ...all);
		context.drawImage(image, x0 * fx, y0 * fy, (x1 - x0) * fx, (y1 - y0) * fy, ...all);
	} else table2.at.forEach((at, key) => {
		if (at < 0) return;
		const cell2 = cellBox(at, table2, unit2);
		const token = grid.key(group, key);
		const box = grid.box(group, key);
		if (token < 0) return fillWith(context, DOTS(), ...cell2);
		if (grid.isPrefix(token) || !box) {
			context.fillStyle = "#77727f";
			return context.fillRect(...cell2);
		}
		fillWith(context, DOTS(), ...cell2);
		const [y0, x0, y1, x1] = box;
		return context.drawImage(image, x0 * fx, y0 * fy, (x1 - x0) * fx, (y1 - y0) * fy, ...cell2);
	});
	if (Math.min(...unit2) >= 5) strokeEdges(context, tokenLines([table2.rows, table2.columns]), unit2, "rgb(255 255 255 / .35)", 1, [], 0);
	marks(context, close, table2, unit2, group);
}
function drawWeights(canvas2, close, row, most, width) {
	const { grid, slot } = close;
	const made = sheet(canvas2, close, width);
	const { context, table: table2, unit: unit2, group } = made;
	const shade = (weight) => colour(weight / (most || 1));
	paintCells(made, close, row, shade);
	if (Math.min(...unit2) >= 19) table2.at.forEach((at, key) => {
		const said = at >= 0 && grid.sees(slot, group, key) && (grid.key(group, key) >= 0 || row[key] !== 0);
		if (said) writeWeight(context, row[key], shade(row[key]), cellBox(at, table2, unit2));
	});
	marks(context, close, table2, unit2, group);
}
var cellBox = (at, { columns }, unit2) => [at % columns * unit2[1], Math.floor(at / columns) * unit2[0], unit2[1] + 0.5, unit2[0] + 0.5];
function writeWeight(context, weight, shade, [x3, y5, w5, h5]) {
	context.fillStyle = inkOn(shade);
	context.font = `${Math.min(13, w5 / 2.4)}px system-ui, "DejaVu Sans", sans-serif`;
	context.textAlign = "center";
	context.textBaseline = "middle";
	context.fillText((100 * weight).toFixed(weight < 0.0995 ? 1 : 0), x3 + w5 / 2, y5 + h5 / 2);
}
function marks(context, { grid, slot }, table2, unit2, group) {
	strokeEdges(context, partEdges(grid, group, table2), unit2, "#fff", 2);
	const own = grid.ownKey(slot);
	const at = own < 0 ? -1 : table2.at[own];
	if (at >= 0) strokeEdges(context, outline(Math.floor(at / table2.columns), at % table2.columns), unit2, MARK, 3);
}
function partEdges(grid, group, { rows, columns, keyAt: keyAt2, listed }) {
	const edges = [];
	if (listed) return edges;
	const label2 = (y5, x3) => {
		const key = keyAt2[y5 * columns + x3];
		return key < 0 ? null : grid.region(group, key);
	};
	for (let y5 = 0; y5 < rows; y5++) {
		for (let x3 = 0; x3 < columns; x3++) {
			if (x3 + 1 < columns && label2(y5, x3) !== label2(y5, x3 + 1)) edges.push([y5, x3 + 1, y5 + 1, x3 + 1]);
			if (y5 + 1 < rows && label2(y5, x3) !== label2(y5 + 1, x3)) edges.push([y5 + 1, x3, y5 + 1, x3 + 1]);
		}
	}
	return edges;
}
function drawSmall(canvas2, close, values, width, shade) {
	const made = sheet(canvas2, close, width);
	const { context, table: table2, unit: unit2 } = made;
	const { grid, slot } = close;
	paintCells(made, close, values, shade);
	const own = grid.ownKey(slot);
	const at = own < 0 ? -1 : table2.at[own];
	if (at >= 0) strokeEdges(context, outline(Math.floor(at / table2.columns), at % table2.columns), unit2, MARK, 2, [], 1);
}
var byWeight = (row) => {
	const most = greatest(row) || 1;
	return (value2) => colour(value2 / most);
};
function keyAt(grid, group, [y5, x3]) {
	const { rows, columns, keyAt: keys } = grid.table(group);
	const cell2 = Math.min(rows - 1, Math.floor(y5 * rows)) * columns + Math.min(columns - 1, Math.floor(x3 * columns));
	return keys[cell2];
}

// src/views/keys.tsx
function Readout({ app, queryData, look }) {
	const { facts, row, wanted } = queryData;
	const head = app.state.head.value;
	const weights = weightsOf(row, head);
	const key = look.key.value >= 0 && look.key.value < weights.length ? look.key.value : -1;
	const which = head < 0 || !row.heads ? `mean of ${facts.heads} heads` : `head ${head + 1}`;
	return a4($, { children: [
		"Query: ",
		a4("b", { children: tokenWords(facts, row.token) }),
		", ",
		which,
		".",
		" ",
		key >= 0 && a4("span", { "data-key": key, children: [
			"Key pointed at: ",
			keyName(queryData, key),
			",",
			" ",
			amount(queryData, key, weights),
			". "
		] }),
		row.token !== wanted && a4("span", { children: "Only some tokens are kept in this report; this is the nearest. " }),
		look.kept.value && !queryData.hovered && a4("button", { type: "button", class: "let-go", "data-let-go": true, onClick: () => {
			look.kept.value = false;
		}, children: "let go" })
	] });
}
function amount({ grid, slot }, key, weights) {
	return grid.standing(slot, key) === "masked" ? "masked, 0" : share(weights[key]);
}
function KeysFigure({ app, queryData, readout, children }) {
	const head = app.state.head.value;
	const table2 = b(() => keyTable(queryData, head), [queryData, head]);
	const numbers = b(() => {
		const data = weightsOf(queryData.row, head);
		return { shape: [data.length], data };
	}, [queryData, head]);
	return a4(
		Figure,
		{
			app,
			id: "canvas",
			title: "How the marked token divides its attention",
			readout,
			table: table2,
			numbers,
			python: () => rowCode(app),
			children
		}
	);
}
function keyTable(queryData, head) {
	const { grid, row, slot, facts } = queryData;
	const group = grid.group(slot);
	const weights = weightsOf(row, head);
	const keys = Array.from(row.keys, (_4, key) => key);
	return {
		columns: ["key", facts.prefix || !facts.cut ? "what" : "token", "state", "weight"],
		rows: keys.map((key) => [
			String(key + 1),
			`${keyName(queryData, key)}${key === grid.ownKey(slot) ? " (itself)" : ""}`,
			grid.standing(slot, key),
			weights[key]
		]),
		data: (key) => ({
			"data-token": row.keys[key],
			"data-weight": weights[key].toFixed(7),
			"data-standing": grid.standing(slot, key),
			"data-box": grid.box(group, key)?.join() ?? "",
			class: grid.standing(slot, key)
		})
	};
}
function Panel({ app, queryData, look }) {
	const { trace, row } = queryData;
	const head = app.state.head.value;
	return a4("aside", { class: "canvas-panel", "aria-label": "The token in numbers", children: [
		a4("h3", { children: "The token" }),
		a4("dl", { class: "facts", "data-facts": true, children: factsOf(queryData, head, trace.manifest.photo.input).map(({ name: name2, value: value2 }) => a4("div", { "data-fact": name2, children: [
			a4("dt", { children: name2 }),
			a4("dd", { children: value2 })
		] }, name2)) }),
		a4("h3", { children: "Its keys, cut out" }),
		a4(Closeups, { app, queryData, look }),
		a4("h3", { children: "Heads" }),
		a4(Strip3, { app, queryData }),
		!row.heads && a4("p", { class: "note", children: trace.hasHeads(queryData.block) ? "Choose a head to have it computed." : `Only the mean of this block’s ${queryData.facts.heads} heads is kept in this report.` }),
		a4("h3", { children: "Where its attention goes" }),
		a4(Top, { queryData, head })
	] });
}
function Closeups({ app, queryData, look }) {
	const head = app.state.head.value;
	const weights = weightsOf(queryData.row, head);
	const seen = useLoaded(() => queryData.trace.image("shown"), [queryData.trace]).value;
	const close = closeOf(queryData);
	const pixels2 = usePaint((canvas2, width) => {
		if (seen) drawPixels(canvas2, close, seen, width);
	}, [queryData, seen]);
	const heat = usePaint((canvas2, width) => drawWeights(canvas2, close, weights, greatest(weights), width), [queryData, head]);
	const table2 = queryData.grid.table(queryData.grid.group(queryData.slot));
	const read2 = (event) => {
		const box = event.currentTarget.getBoundingClientRect();
		return keyAt(
			queryData.grid,
			queryData.grid.group(queryData.slot),
			[(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width]
		);
	};
	return a4("div", { class: "closeups", children: [
		a4("div", { children: [
			a4("div", { children: a4("canvas", { ref: pixels2, role: "img", "aria-label": "The keys’ parts of the photo" }) }),
			a4("p", { children: "their pixels" })
		] }),
		a4("div", { children: [
			a4("div", { children: a4(
				"canvas",
				{
					ref: heat,
					role: "img",
					"aria-label": "The keys’ weights",
					"data-close": true,
					onPointerMove: (event) => {
						look.key.value = read2(event);
					},
					onClick: (event) => {
						look.key.value = read2(event);
					},
					onPointerLeave: (event) => {
						if (event.pointerType !== "touch") look.key.value = -1;
					}
				}
			) }),
			a4("p", { children: [
				"their weights",
				table2.listed ? ", as a list" : "",
				Math.max(table2.rows, table2.columns) <= 8 ? ", in %" : ""
			] })
		] })
	] });
}
function Strip3({ app, queryData }) {
	const { facts, trace, block } = queryData;
	const heads2 = trace.hasHeads(block) ? Array.from({ length: facts.heads }, (_4, head) => head) : [];
	return a4("div", { class: "strip", role: "group", "aria-label": "Heads", children: [-1, ...heads2].map((head) => a4(Head, { app, queryData, head }, head)) });
}
function Head({ app, queryData, head }) {
	const weights = head < 0 ? queryData.row.mean : queryData.row.heads?.[head] ?? null;
	const ref = usePaint((canvas2) => {
		if (weights) drawSmall(canvas2, closeOf(queryData), weights, 40, byWeight(weights));
	}, [queryData, head]);
	const chosen = app.state.head.value === head;
	return a4(
		"button",
		{
			type: "button",
			"data-head": head,
			"aria-pressed": chosen,
			"aria-label": head < 0 ? "mean of all heads" : `head ${head + 1}`,
			onClick: () => {
				app.state.head.value = head;
			},
			children: [
				a4("div", { children: a4("canvas", { ref, "aria-hidden": "true", class: weights ? "" : "none" }) }),
				a4("span", { children: head < 0 ? "mean" : head + 1 })
			]
		}
	);
}
function Top({ queryData, head }) {
	const { grid, row, slot } = queryData;
	const weights = weightsOf(row, head);
	const most = greatest(weights) || 1;
	const order = Array.from(weights.keys()).filter((key) => row.allowed[key]).sort((a5, b4) => weights[b4] - weights[a5]).slice(0, 5);
	return a4("table", { class: "top-keys", children: [
		a4("thead", { children: a4("tr", { children: [
			a4("th", { scope: "col", children: "key" }),
			a4("th", { scope: "col", children: "token" }),
			a4("th", { scope: "col", children: "weight" })
		] }) }),
		a4("tbody", { children: order.map((key) => a4("tr", { "data-top": key, children: [
			a4("td", { children: [
				a4("i", { style: { background: css(colour(weights[key] / most)) } }),
				" ",
				key + 1
			] }),
			a4("td", { children: [
				keyName(queryData, key),
				key === grid.ownKey(slot) ? " (itself)" : ""
			] }),
			a4("td", { class: "number", children: share(weights[key]) })
		] }, key)) })
	] });
}

// src/views/canvas.tsx
function Canvas({ app }) {
	const look = w2(newLook, []);
	const { queryData, error } = useQuery(app, { hover: look.hover });
	const facts = app.trace.value.manifest.blocks[app.state.block.value];
	const now = queryData.value;
	F2(() => {
		[look.hover.value, look.key.value] = [-1, -1];
	}, [app.state.block.value]);
	F2(() => {
		if (!now || now.hovered || !look.spoke.value) return;
		look.spoke.value = false;
		app.say(spoken(now, app.state.head.value, now.trace.manifest.photo.input));
	}, [now]);
	return a4("div", { class: "canvas-view", children: [
		a4("div", { class: "canvas-main", children: [
			a4("h2", { children: [
				capital(blockName(facts)),
				": ",
				facts.title
			] }),
			a4("p", { class: "note", children: facts.text }),
			error.value && a4("p", { class: "warning", role: "alert", children: error.value }),
			now && a4(KeysFigure, { app, queryData: now, readout: a4(Readout, { app, queryData: now, look }), children: [
				a4(Picture, { app, queryData: now, look }),
				a4(Legend, { queryData: now, head: app.state.head.value })
			] }),
			now && a4(Controls, { app, grid: now.grid, look })
		] }),
		now && a4(Panel, { app, queryData: now, look })
	] });
}
function queryRowOf({ grid, row, slot }, head) {
	const weights = weightsOf(row, head);
	return { slot, row: weights, most: Math.max(greatest(weights), greatest(spotWeights(grid, grid.group(slot), weights))) };
}
function Picture({ app, queryData, look }) {
	const frame = T2(null);
	const canvas2 = T2(null);
	const width = useWidth(frame);
	const painter = w2(() => new Painter(), []);
	const images = useLoaded(() => Promise.all([queryData.trace.image("shown"), queryData.trace.image("seen")]), [queryData.trace]);
	const queryRow = w2(() => queryRowOf(queryData, app.state.head.value), [queryData, app.state.head.value]);
	const { grid, facts } = queryData;
	const beside2 = facts.prefix ? 56 : 0;
	F2(() => {
		const highest = Math.max(280, Math.min(680, innerHeight * 0.78));
		if (width > beside2) look.fit.value = fit(grid, facts.stride, width - beside2, highest);
	}, [grid, width, beside2]);
	const latest = T2(queryData);
	latest.current = queryData;
	F2(() => listen(canvas2.current, app, look, () => latest.current), [app, look]);
	const draw = b(() => {
		const [size, zoom2, roll] = [look.fit.value, look.zoom.value, app.state.shift.value];
		const [strength, pixels2, key] = [look.strength.value, look.pixels.value, look.key.value];
		const images_ = images.value;
		if (!size || !images_) return void 0;
		return () => {
			const target = canvas2.current;
			if (!target) return;
			const { input } = queryData.trace.manifest.photo;
			const finer = zoom2.factor > 1.5 && images_[1].width > images_[0].width;
			target.style.width = `${size.width}px`;
			target.style.height = `${size.height}px`;
			painter.paint(target, {
				grid,
				block: queryData.block,
				photo: images_[pixels2 || finer ? 1 : 0],
				pixelated: pixels2,
				queryRow,
				strength,
				key,
				extent: input.map((n3, axis) => n3 / facts.stride[axis])
			}, {
				width: size.width,
				height: size.height,
				unit: size.unit.map((n3) => n3 * zoom2.factor),
				roll,
				origin: zoom2.origin.map((from, axis) => from * grid.padded[axis])
			});
			target.dataset.painted = `${queryData.block} ${queryData.row.token} ${app.state.head.peek()}`;
		};
	}, [queryData, queryRow, images.value]);
	useFrames(draw, [draw]);
	const [y5, x3] = placeOf(facts, app.state.token.value, queryData.trace.manifest.photo.input);
	return a4("div", { class: "canvas-frame", ref: frame, children: [
		facts.prefix > 0 && a4(Prefix, { app, queryData, look, queryRow }),
		a4(
			"canvas",
			{
				ref: canvas2,
				class: "canvas",
				tabIndex: 0,
				role: "application",
				"data-canvas": true,
				"data-place": `${y5} ${x3}`,
				"aria-roledescription": "picture of tokens",
				"aria-describedby": "canvas-hint",
				"aria-label": `The photo cut into ${facts.spatial.join(" by ")} tokens`
			}
		)
	] });
}
function Prefix({ app, queryData, look, queryRow }) {
	const { facts, row } = queryData;
	return a4("div", { class: "prefix", role: "group", "aria-label": "Prefix tokens, without a place in the photo", children: Array.from({ length: facts.prefix }, (_4, token) => a4(
		PrefixChip,
		{
			token,
			many: facts.prefix > 1,
			chosen: row.token === token,
			weight: queryRow.row[row.keys.indexOf(token)] ?? null,
			most: queryRow.most,
			onChoose: () => {
				look.spoke.value = true;
				look.kept.value = true;
				app.state.token.value = token;
			}
		},
		token
	)) });
}
function PrefixChip({ token, many, chosen, weight, most, onChoose }) {
	const name2 = many ? `+${token + 1}` : "CLS";
	const said = `${name2}, prefix token ${token + 1}${weight === null ? "" : `, gets ${(100 * weight).toFixed(2)} %`}`;
	return a4("button", { type: "button", "data-prefix": token, "aria-pressed": chosen, title: said, onClick: onChoose, children: [
		a4("i", { style: weight === null ? {} : { background: css(colour(weight / (most || 1))) } }),
		a4("span", { children: name2 }),
		weight !== null && a4("span", { class: "number", "aria-hidden": "true", children: (100 * weight).toFixed(1) })
	] });
}
var canvas = { id: "canvas", title: "In the photo", Component: Canvas };

// src/costs.ts
var short = (n3, unit2) => scaled(n3, unit2).replace(/\.0+(?=\u00a0)/, "");
var given = (cost4, values) => cost4.sizes.flatMap((size, i4) => values[i4] > 0 ? [[size, values[i4]]] : []);
var METRICS = [
	{
		id: "flops",
		title: "Operations",
		axis: "operations of one forward pass",
		say: (n3) => short(n3, "FLOP"),
		text: "Multiplications and additions of the whole model, counted from its structure.",
		of: (cost4, { flops }) => given(cost4, flops)
	},
	{
		id: "attention",
		title: "Attention alone",
		axis: "operations of attention's two products",
		say: (n3) => short(n3, "FLOP"),
		text: "Queries with keys, and weights with values: the part that differs most between mechanisms.",
		of: (cost4, { attention_flops }) => given(cost4, attention_flops)
	},
	{
		id: "memory",
		title: "Memory",
		axis: "most bytes alive in a forward pass",
		say: (n3) => short(n3, "B"),
		text: "Weights, input and everything alive at the worst moment of a forward pass, where each group's weights are written out.",
		of: (cost4, { memory }) => given(cost4, memory)
	},
	{
		id: "pairs",
		title: "Pairs",
		axis: "pairs of tokens that may attend",
		say: (n3) => short(n3, ""),
		text: "How many pairs of a query and a key all blocks permit together.",
		of: (cost4, { pairs }) => given(cost4, pairs)
	},
	{
		id: "time",
		title: "Time",
		axis: "time of one forward pass",
		say: (n3) => n3 < 1e3 ? `${Number(n3.toPrecision(3))} ms` : `${count(Number((n3 / 1e3).toPrecision(3)))} s`,
		text: "Circles were measured on the machine that wrote this. Lines are counted operations at the rate of the circle; dashed ones belong to mechanisms that were not measured and are only a guess.",
		of: rated
	}
];
function rated(cost4, mechanism) {
	const rate = rateOf(cost4, mechanism.id) ?? rateOf(cost4, "this");
	return rate ? given(cost4, mechanism.flops).map(([size, n3]) => [size, n3 / rate]) : [];
}
function rateOf(cost4, id) {
	const operations = given(cost4, cost4.mechanisms.find((mechanism) => mechanism.id === id)?.flops ?? []);
	if (operations.length < 2) return null;
	const rates = cost4.measured.filter((point) => point.id === id).map(({ size, ms }) => between(operations, size) / ms).sort((a5, b4) => a5 - b4);
	return rates[Math.floor(rates.length / 2)] ?? null;
}
function between(points, size) {
	const after = Math.min(points.length - 1, Math.max(1, points.findIndex(([n3]) => n3 >= size)));
	const [a5, b4] = [points[after - 1], points[after]];
	return a5[1] * (size / a5[0]) ** (Math.log(b4[1] / a5[1]) / Math.log(b4[0] / a5[0]));
}
function nearest(sizes, wish) {
	return sizes.reduce((best, n3) => Math.abs(Math.log(n3 / wish)) < Math.abs(Math.log(best / wish)) ? n3 : best, sizes[0] ?? wish);
}
function reading(points, size) {
	const at = points.findIndex(([n3]) => n3 === size);
	if (at < 0) return { value: null, doubling: null };
	const [a5, b4] = at + 1 < points.length ? [points[at], points[at + 1]] : [points[at - 1], points[at]];
	if (!a5 || !b4) return { value: points[at][1], doubling: null };
	return { value: points[at][1], doubling: 2 ** (Math.log(b4[1] / a5[1]) / Math.log(b4[0] / a5[0])) };
}

// src/ui/Switch.tsx
function Switch({ label: label2, choices, value: value2, onChange }) {
	return a4("div", { class: "switch", role: "group", "aria-label": label2, children: choices.map(({ id, label: words, title, disabled }) => a4(
		"button",
		{
			type: "button",
			"data-choice": id,
			title,
			disabled,
			"aria-pressed": id === value2,
			onClick: () => onChange(id),
			children: words
		},
		id
	)) });
}

// src/views/cost.tsx
function Cost({ app }) {
	const { manifest } = app.trace.value;
	const { cost: cost4 } = manifest;
	if (isPending(manifest, "cost")) return a4(Pending, { what: "Costs are" });
	return a4("div", { class: "cost", children: [
		cost4.sizes.length > 0 && cost4.mechanisms.length > 0 && a4(Curves, { app, cost: cost4 }),
		a4("div", { class: "columns", children: [
			cost4.windows.length > 0 && a4(Windows, { app, windows: cost4.windows }),
			a4(Stages, { app, stages: cost4.stages })
		] })
	] });
}
var cost3 = { id: "cost", title: "Cost", Component: Cost };
function standings(cost4, metric, size) {
	return cost4.mechanisms.map((mechanism, i4) => ({
		id: mechanism.id,
		label: label(mechanism),
		model: mechanism.model,
		tone: toneOf(cost4, i4),
		...reading(metric.of(cost4, mechanism), size)
	})).sort((a5, b4) => (a5.value ?? Infinity) - (b4.value ?? Infinity));
}
var toneOf = ({ mechanisms }, at) => mechanisms[at].id === "this" ? 0 : mechanisms.slice(0, at).filter(({ id }) => id !== "this").length + 1;
var label = ({ id, label: words }) => id === "this" ? "this model" : words;
var brief2 = (mechanism) => /\(([^)]+)\)$/.exec(label(mechanism))?.[1] ?? label(mechanism);
function Curves({ app, cost: cost4 }) {
	const { manifest } = app.trace.value;
	const metric = METRICS.find(({ id }) => id === app.state.metric.value) ?? METRICS[0];
	const offered = METRICS.filter(({ of }) => cost4.mechanisms.some((mechanism) => of(cost4, mechanism).length));
	const size = nearest(cost4.sizes, app.state.size.value);
	const lines3 = cost4.mechanisms.map((mechanism, i4) => ({
		id: mechanism.id,
		label: brief2(mechanism),
		points: metric.of(cost4, mechanism),
		tone: toneOf(cost4, i4),
		strong: mechanism.id === "this",
		dashed: metric.id === "time" && !cost4.measured.some(({ id }) => id === mechanism.id)
	})).filter(({ points }) => points.length);
	const ranked = standings(cost4, metric, size);
	return a4("section", { class: "part curves", children: [
		a4("div", { class: "bar", children: [
			a4(
				Switch,
				{
					label: "What is counted",
					value: metric.id,
					onChange: (id) => {
						app.state.metric.value = id;
					},
					choices: offered.map(({ id, title }) => ({ id, label: title }))
				}
			),
			a4(
				Slider,
				{
					label: "Image",
					value: cost4.sizes.indexOf(size),
					min: 0,
					max: cost4.sizes.length - 1,
					words: (at) => `${times([cost4.sizes[at], cost4.sizes[at]])} pixels`,
					onInput: (at) => {
						app.state.size.value = cost4.sizes[at];
					}
				}
			)
		] }),
		a4(
			Figure,
			{
				app,
				id: "cost",
				title: `${metric.title} by image size`,
				caption: `${metric.text} ${snapped(app, size)}`,
				table: () => curveTable(cost4, metric),
				python: () => costCode(app, manifest, size),
				children: a4("div", { class: "with-ranking", children: [
					a4(
						Chart,
						{
							title: titleOf2(metric, ranked, size),
							lines: lines3,
							cursor: size,
							height: 360,
							dots: metric.id === "time" ? dots(cost4) : [],
							x: { label: "height and width of the image, pixels", log: true, ticks: cost4.sizes, format: String },
							y: { label: metric.axis, log: true, format: metric.say }
						}
					),
					a4(Ranking, { ranked, metric, size })
				] })
			}
		)
	] });
}
function snapped(app, size) {
	const wish = app.state.size.value;
	return wish === size ? "Only the marked sizes were counted; nothing between them is guessed." : `Counted at the marked sizes only: ${size} is the nearest to ${wish}.`;
}
function titleOf2(metric, ranked, size) {
	const said = ranked.flatMap(({ label: name2, value: value2 }) => value2 === null ? [] : [`${name2} ${metric.say(value2)}`]);
	return `${metric.title} by image size, both axes logarithmic. At ${size} pixels: ${said.join(", ")}.`;
}
function dots(cost4) {
	return cost4.measured.flatMap(({ id, size, ms }) => {
		const at = cost4.mechanisms.findIndex((mechanism) => mechanism.id === id);
		return at < 0 ? [] : [{ id, x: size, y: ms, tone: toneOf(cost4, at), label: `${label(cost4.mechanisms[at])} at ${size}: ${Number(ms.toPrecision(3))} ms, measured` }];
	});
}
function Ranking({ ranked, metric, size }) {
	const most = Math.max(...ranked.map(({ value: value2 }) => value2 ?? 0));
	const own = ranked.find(({ id }) => id === "this")?.value ?? null;
	return a4("div", { class: "ranking", children: [
		a4("h4", { children: [
			"At ",
			times([size, size]),
			" pixels"
		] }),
		a4("ol", { children: ranked.map(({ id, label: name2, model, value: value2, doubling, tone: tone2 }) => a4("li", { class: `tone-${tone2}${id === "this" ? " own" : ""}`, "data-mechanism": id, "data-value": value2 ?? "", children: [
			a4("span", { class: "label", title: model, children: name2 }),
			a4("span", { class: "number", children: value2 === null ? "not counted" : metric.say(value2) }),
			a4("span", { class: "bar-back", "aria-hidden": "true", children: a4("span", { class: "bar-fill", style: { width: `${100 * (value2 ?? 0) / most}%` } }) }),
			a4("span", { class: "note", children: [
				own && value2 && id !== "this" ? `${factor(value2 / own)} × this model` : "",
				own && value2 && id !== "this" && doubling ? "; " : "",
				doubling ? `twice the side: × ${factor(doubling)}` : ""
			] })
		] }, id)) })
	] });
}
function curveTable(cost4, metric) {
	const rows = cost4.mechanisms.flatMap((mechanism) => metric.of(cost4, mechanism).map(([size, value2]) => ({ mechanism, size, value: value2 })));
	const measured = metric.id === "time" ? cost4.measured : [];
	return {
		columns: ["mechanism", "model", "size", metric.axis, ...metric.id === "time" ? ["measured ms"] : []],
		rows: rows.map(({ mechanism, size, value: value2 }) => [
			mechanism.label,
			mechanism.model,
			size,
			value2,
			...metric.id === "time" ? [measured.find((point) => point.id === mechanism.id && point.size === size)?.ms ?? ""] : []
		]),
		data: (row) => ({ "data-mechanism": rows[row].mechanism.id, "data-size": rows[row].size, "data-value": rows[row].value })
	};
}
function costCode(app, manifest, size) {
	return [
		prelude(app),
		"from vitrail.analysis import cost",
		`here = cost(model, (${manifest.photo.input.join(", ")}), training=False)  # ${manifest.model.name} as it is explored`,
		`there = cost(model, ${size}, training=False)  # the same model on a square of ${size} pixels`,
		"print(there.flops.total, sum(s.flops.attention for s in there.stages), there.inference_peak, there.pairs)"
	].join("\n");
}
function Windows({ app, windows }) {
	const given2 = windows.map(({ window: window2 }) => window2);
	const chosen = nearest(given2, app.state.window.value);
	const own = app.trace.value.manifest.blocks.find((block) => block.cut)?.cut?.window[0];
	const at = windows.find(({ window: window2 }) => window2 === chosen) ?? windows[0];
	const most = Math.max(...windows.map(({ flops }) => flops));
	return a4("section", { class: "part windows", children: [
		a4(
			Slider,
			{
				label: "Window",
				value: given2.indexOf(chosen),
				min: 0,
				max: given2.length - 1,
				words: (i4) => `${times([given2[i4], given2[i4]])} tokens`,
				onInput: (i4) => {
					app.state.window.value = given2[i4];
				}
			}
		),
		a4(
			Figure,
			{
				app,
				id: "windows",
				title: "Other windows on this image",
				caption: `With windows of ${times([at.window, at.window])} this model needs ${scaled(at.flops, "FLOP")}; ${at.padding > 0 ? share(at.padding) : "none"} of the places for tokens hold padding, and after the first stage the middle token can know of ${at.reach} pixels.`,
				table: () => ({
					columns: ["window", "operations", "padding share", "reach, pixels"],
					rows: windows.map(({ window: window2, flops, padding, reach: reach2 }) => [window2, flops, padding, reach2]),
					data: (row) => ({ "data-window": windows[row].window })
				}),
				python: () => `${prelude(app)}
windows = report.manifest["cost"]["windows"]`,
				children: a4("table", { class: "plain", children: [
					a4("thead", { children: a4("tr", { children: [
						a4("th", { scope: "col", children: "window" }),
						a4("th", { scope: "col", children: "operations" }),
						a4("th", { scope: "col", children: "padding" }),
						a4("th", { scope: "col", children: "reach" })
					] }) }),
					a4("tbody", { children: windows.map(({ window: window2, flops, padding, reach: reach2 }) => a4("tr", { class: window2 === chosen ? "chosen" : "", "data-window": window2, "aria-current": window2 === chosen, children: [
						a4("th", { scope: "row", children: [
							window2,
							window2 === own ? " (own)" : ""
						] }),
						a4("td", { children: a4(Amount, { part: flops / most, words: scaled(flops, "FLOP") }) }),
						a4("td", { class: padding > 0 ? "" : "soft", children: a4(Amount, { part: padding, words: padding > 0 ? share(padding) : "none" }) }),
						a4("td", { class: "number", children: [
							reach2,
							" px"
						] })
					] }, window2)) })
				] })
			}
		)
	] });
}
function Amount({ part, words }) {
	return a4("span", { class: "amount", children: [
		a4("span", { class: "bar-back", "aria-hidden": "true", children: a4("span", { class: "bar-fill", style: { width: `${100 * part}%` } }) }),
		a4("span", { children: words })
	] });
}
var PARTS = ["attention", "projections", "mlp", "rest"];
var SAID = { attention: "attention", projections: "projections", mlp: "perceptrons", rest: "merging" };
function Stages({ app, stages: stages2 }) {
	const { photo: photo3, model } = app.trace.value.manifest;
	const sum = (stage) => PARTS.reduce((total, part) => total + stage[part], 0);
	const most = Math.max(...stages2.map(sum), 1);
	return a4("section", { class: "part stages", children: a4(
		Figure,
		{
			app,
			id: "stages",
			title: `Where ${model.name} spends it, at ${times(photo3.input)} pixels`,
			caption: "Bars are operations of each stage, to one scale; from the darkest part on: attention, its projections, perceptrons, merging.",
			table: () => ({
				columns: ["stage", "tokens", "channels", ...PARTS.map((part) => SAID[part]), "pairs", "bytes", "reach, rows", "reach, columns", "share of pixels"],
				rows: stages2.map((stage) => [stage.stage + 1, stage.tokens, stage.dim, ...PARTS.map((part) => stage[part]), stage.pairs, stage.memory, ...stage.reach, stage.seen]),
				data: (row) => ({ "data-stage": stages2[row].stage })
			}),
			python: () => `${prelude(app)}
from vitrail.analysis import cost
stages = cost(model, (${photo3.input.join(", ")}), training=False).stages`,
			children: a4("ol", { class: "spent", children: stages2.map((stage) => a4("li", { "data-stage": stage.stage, children: [
				a4("span", { class: "label", children: [
					"Stage ",
					stage.stage + 1
				] }),
				a4("span", { class: "number", children: scaled(sum(stage), "FLOP") }),
				a4("span", { class: "stack", role: "img", "aria-label": PARTS.map((part) => `${SAID[part]} ${share(stage[part] / Math.max(1, sum(stage)))}`).join(", "), children: PARTS.map((part) => a4("i", { class: part, style: { width: `${100 * stage[part] / most}%` }, title: `${SAID[part]}: ${scaled(stage[part], "FLOP")}` }, part)) }),
				a4("span", { class: "note", children: [
					scaled(stage.tokens),
					" tokens of ",
					stage.dim,
					" channels; ",
					scaled(stage.pairs),
					" pairs; ",
					scaled(stage.memory, "B"),
					"; a token can know of ",
					times(stage.reach),
					" pixels (",
					share(stage.seen),
					")"
				] })
			] }, stage.stage)) })
		}
	) });
}

// src/views/stats.tsx
async function statsOf(trace, block) {
	const { shape: [heads2, count2], data } = await trace.array(trace.manifest.blocks[block].stats);
	return Array.from({ length: heads2 }, (_4, head) => {
		const [distance2, entropy, self, padding, wrap] = data.subarray(head * count2, head * count2 + count2);
		return { distance: distance2, entropy, self, padding, wrap };
	});
}
var COLUMNS = [
	{ id: "distance", name: "distance", unit: "pixels", says: "how far away what it attends to lies, on average" },
	{ id: "entropy", name: "entropy", unit: "nats", says: "how widely it spreads: 0 for one key; the logarithm of the number of keys for all alike" },
	{ id: "self", name: "itself", unit: "", says: "what a token gives to itself" },
	{ id: "padding", name: "padding", unit: "", says: "what goes to places that hold no token" },
	{ id: "wrap", name: "across the edge", unit: "", says: "what goes to tokens that only the roll made neighbours" }
];
function Stats({ app, trace, index, stats, order }) {
	const farthest = Math.max(1e-9, ...stats.map(({ distance: distance2 }) => distance2));
	const widest = Math.max(1e-9, ...stats.map(({ entropy }) => entropy));
	const table2 = b(() => ({
		columns: ["head", ...COLUMNS.map(({ name: name2, unit: unit2 }) => unit2 ? `${name2}, ${unit2}` : name2)],
		rows: stats.map((head, i4) => [String(i4 + 1), ...COLUMNS.map(({ id }) => head[id])]),
		data: (i4) => ({ "data-stats": i4 })
	}), [stats]);
	const numbers = b(() => ({
		shape: [stats.length, COLUMNS.length],
		data: Float32Array.from(stats.flatMap((head) => COLUMNS.map(({ id }) => head[id])))
	}), [stats]);
	const code = () => [
		prelude(app),
		"from vitrail.explain import attention_stats",
		`stats = attention_stats(trace.blocks[${index}])  # a row a head: ${COLUMNS.map(({ name: name2 }) => name2).join(", ")}`
	].join("\n");
	return a4(
		Figure,
		{
			app,
			id: "stats",
			title: "How the heads differ, over all tokens",
			table: table2,
			numbers,
			python: code,
			caption: a4($, { children: COLUMNS.map(({ id, name: name2, says }) => a4("span", { class: "says", children: [
				a4("b", { children: name2 }),
				": ",
				says,
				". "
			] }, id)) }),
			children: a4("div", { class: "stats-scroll", tabIndex: 0, role: "region", "aria-label": "Statistics of the heads", children: a4("table", { class: "stats", "data-block": trace.manifest.blocks[index].name, children: [
				a4("thead", { children: a4("tr", { children: [
					a4("th", { scope: "col", children: "head" }),
					COLUMNS.map(({ id, name: name2, unit: unit2 }) => a4("th", { scope: "col", "aria-sort": app.state.sort.value === id ? "ascending" : "none", children: [
						name2,
						unit2 && a4("small", { children: [
							" ",
							unit2
						] })
					] }, id))
				] }) }),
				a4("tbody", { children: order.map((head) => a4("tr", { "data-stats-head": head, class: app.state.head.value === head ? "chosen" : "", children: [
					a4("th", { scope: "row", children: a4(
						"button",
						{
							type: "button",
							"aria-pressed": app.state.head.value === head,
							onClick: () => {
								app.state.head.value = head;
							},
							children: head + 1
						}
					) }),
					a4("td", { "data-value": stats[head].distance, children: a4(Meter, { part: stats[head].distance / farthest, said: stats[head].distance.toFixed(1) }) }),
					a4("td", { "data-value": stats[head].entropy, children: a4(Meter, { part: stats[head].entropy / widest, said: stats[head].entropy.toFixed(2) }) }),
					["self", "padding", "wrap"].map((id) => a4("td", { class: "number", "data-value": stats[head][id], children: stats[head][id] === 0 ? "0" : share(stats[head][id]) }, id))
				] }, head)) })
			] }) })
		}
	);
}
function Meter({ part, said }) {
	return a4("span", { class: "meter", children: [
		a4("span", { class: "bar-back", "aria-hidden": "true", children: a4("span", { class: "bar-fill", style: { width: `${100 * Math.max(0, Math.min(1, part))}%` } }) }),
		a4("span", { class: "number", children: said })
	] });
}
function NoHeads({ app, queryData }) {
	const { heads: heads2 } = queryData.facts;
	const { photo: photo3, model } = app.trace.value.manifest;
	return a4("div", { class: "warning", "data-no-heads": true, children: a4("p", { children: [
		"This report keeps only the mean of this block’s ",
		heads2,
		" heads, to stay small. Three ways to see each of them: a smaller input (",
		a4("code", { children: "--size" }),
		"), the live page (",
		a4("code", { children: [
			"vitrail explore ",
			photo3.name,
			" --serve"
		] }),
		"), or a notebook (",
		a4("code", { children: [
			'vitrail.explore(model, "',
			photo3.name,
			'")'
		] }),
		"), which compute them on demand. Model: ",
		model.name,
		"."
	] }) });
}

// src/views/heads.tsx
var SORTS2 = [{ id: "index", label: "number" }, { id: "distance", label: "distance" }, { id: "entropy", label: "entropy" }];
function Heads({ app }) {
	const { queryData, error } = useQuery(app, { heads: true });
	const trace = app.trace.value;
	const index = app.state.block.value;
	const facts = trace.manifest.blocks[index];
	const { value: stats } = useLoaded(() => statsOf(trace, index), [trace, index]);
	const now = queryData.value;
	const fresh = now && now.block === index ? now : null;
	const order = stats && stats.length === facts.heads ? sorted(stats, app.state.sort.value) : null;
	return a4("div", { class: "heads-view", children: [
		a4("div", { class: "bar", children: [
			a4("h2", { children: [
				capital(blockName(facts)),
				": ",
				facts.heads === 1 ? "its one head" : `its ${facts.heads} heads`
			] }),
			facts.heads > 1 && a4("div", { class: "sort", children: [
				a4("span", { id: "heads-sort", children: "sorted by" }),
				a4(
					Switch,
					{
						label: "Sort the heads by",
						choices: SORTS2,
						value: app.state.sort.value,
						onChange: (by) => {
							app.state.sort.value = by;
							app.say(`Sorted by ${by === "index" ? "number" : by}.`);
						}
					}
				)
			] })
		] }),
		a4("p", { class: "note", children: "Each head divides the attention of a token in its own way; the block works with all of them at once. Choose one to see it everywhere." }),
		error.value && a4("p", { class: "warning", role: "alert", children: error.value }),
		fresh && order && a4(Multiples, { app, queryData: fresh, order, stats }),
		order && a4(Stats, { app, trace, index, stats, order })
	] });
}
function sorted(stats, by) {
	const order = stats.map((_4, head) => head);
	return by === "index" ? order : order.sort((a5, b4) => stats[a5][by] - stats[b4][by] || a5 - b4);
}
function Multiples({ app, queryData, order, stats }) {
	const { row, facts } = queryData;
	const table2 = b(() => headTable(queryData), [queryData]);
	const numbers = b(() => {
		const all = row.heads ?? [row.mean];
		return { shape: [all.length, row.mean.length], data: Float32Array.from(all.flatMap((weights) => Array.from(weights))) };
	}, [queryData]);
	const apart = row.bias !== null && row.heads !== null;
	return a4(
		Figure,
		{
			app,
			id: "heads",
			title: `Where each head looks from ${placeWords(facts, row.token)}`,
			table: table2,
			numbers,
			python: () => headsCode(app),
			caption: apart ? BIAS_WORDS : row.heads && NO_BIAS,
			children: [
				row.heads ? null : a4(NoHeads, { app, queryData }),
				a4("div", { class: "multiples", role: "group", "aria-label": "Heads", children: [
					a4(Pixels, { queryData }),
					a4(Multiple, { app, queryData, head: -1, stats: null }),
					row.heads && order.map((head) => a4(Multiple, { app, queryData, head, stats: stats[head] }, head))
				] })
			]
		}
	);
}
var BIAS_WORDS = "Below each head, the two parts that its scores are the sum of: the bias, which the model learned for positions alone, the same on every photo; and the rest, which the data decide (the logarithm of the weight, less the bias; known up to one constant for the row). A score counts only against the others of its row, so both are drawn about their own mean, in the same colours: yellow raises the weight, blue lowers it.";
var NO_BIAS = "This block adds no bias for positions, or this trace keeps none of it: the scores are shown whole.";
function Pixels({ queryData }) {
	const image = useLoaded(() => queryData.trace.image("shown"), [queryData.trace]).value;
	const ref = usePaint((canvas2, width) => {
		if (image) drawPixels(canvas2, closeOf(queryData), image, width);
	}, [queryData, image]);
	return a4("div", { class: "multiple pixels-of", children: [
		a4("p", { class: "head-name", children: "the keys’ pixels" }),
		a4("div", { class: "head-map", children: a4("canvas", { ref, role: "img", "aria-label": "The keys’ parts of the photo" }) })
	] });
}
function Multiple({ app, queryData, head, stats }) {
	const { row } = queryData;
	const weights = head < 0 ? row.mean : row.heads[head];
	const chosen = app.state.head.value === head;
	const map2 = usePaint((canvas2, width) => drawSmall(canvas2, closeOf(queryData), weights, width, byWeight(weights)), [queryData, head]);
	const name2 = head < 0 ? "mean" : `head ${head + 1}`;
	const figures = stats ? `, looks ${stats.distance.toFixed(1)} pixels far, entropy ${stats.entropy.toFixed(2)} nats` : "";
	const choose = () => {
		app.state.head.value = head;
		app.say(head < 0 ? "The mean of all heads is chosen." : `Head ${head + 1} is chosen.`);
	};
	return a4(
		"button",
		{
			type: "button",
			class: "multiple",
			"data-head": head,
			"aria-pressed": chosen,
			title: `${head < 0 ? "mean of all heads" : name2}${figures}`,
			onClick: choose,
			children: [
				a4("span", { class: "head-name", children: name2 }),
				a4("span", { class: "head-map", children: a4("canvas", { ref: map2, "aria-hidden": "true" }) }),
				stats && a4("span", { class: "head-stats", children: [
					stats.distance.toFixed(1),
					" px, ",
					stats.entropy.toFixed(2),
					" nats"
				] }),
				head >= 0 && row.bias && a4(Terms, { queryData, weights, bias: row.bias[head] })
			]
		}
	);
}
function terms(weights, bias, allowed) {
	const data = weights.map((weight, key) => allowed[key] && weight > 0 ? Math.log(weight) - bias[key] : NaN);
	const held2 = bias.map((value2, key) => allowed[key] ? value2 : NaN);
	const [first, second2] = [centred(held2), centred(data)];
	const most = Math.max(1e-6, ...[...first, ...second2].filter((value2) => !Number.isNaN(value2)).map(Math.abs));
	return { bias: first, data: second2, most };
}
function centred(values) {
	const known3 = values.filter((value2) => !Number.isNaN(value2));
	const mean = known3.reduce((sum, value2) => sum + value2, 0) / Math.max(1, known3.length);
	return values.map((value2) => value2 - mean);
}
function Terms({ queryData, weights, bias }) {
	const parts = w2(() => terms(weights, bias, queryData.row.allowed), [queryData, weights, bias]);
	const shade = (value2) => Number.isNaN(value2) ? colour(0, BIAS) : colour(0.5 + value2 / (2 * parts.most), BIAS);
	const first = usePaint((canvas2, width) => drawSmall(canvas2, closeOf(queryData), parts.bias, width, shade), [parts]);
	const second2 = usePaint((canvas2, width) => drawSmall(canvas2, closeOf(queryData), parts.data, width, shade), [parts]);
	return a4("span", { class: "terms", "data-most": parts.most.toFixed(3), children: [
		a4("span", { children: [
			a4("span", { class: "head-map", children: a4("canvas", { ref: first, "aria-hidden": "true" }) }),
			"bias"
		] }),
		a4("span", { children: [
			a4("span", { class: "head-map", children: a4("canvas", { ref: second2, "aria-hidden": "true" }) }),
			"data"
		] })
	] });
}
function headTable(queryData) {
	const { row, grid, slot, facts } = queryData;
	const heads2 = row.heads ?? [];
	return {
		columns: [
			"key",
			"token",
			"mean",
			...heads2.map((_4, head) => `head ${head + 1}`),
			...(row.bias ?? []).map((_4, head) => `bias ${head + 1}`)
		],
		rows: Array.from(row.keys, (_4, key) => [
			String(key + 1),
			`${keyName(queryData, key)}${grid.sees(slot, row.group, key) ? "" : " (masked)"}`,
			row.mean[key],
			...heads2.map((weights) => weights[key]),
			...(row.bias ?? []).map((bias) => bias[key])
		]),
		data: (key) => ({
			"data-token": row.keys[key],
			"data-weight": row.mean[key].toFixed(7),
			"data-standing": grid.standing(slot, key),
			"data-heads": heads2.map((weights) => weights[key].toFixed(7)).join(" "),
			"data-stage": facts.stage
		})
	};
}
function headsCode(app) {
	const block = app.trace.value.manifest.blocks[app.state.block.value];
	return [
		prelude(app),
		`block = trace.blocks[${app.state.block.value}]  # ${block.name}: ${block.title}`,
		`rows = [block.row(${placeText(app)}, head=head) for head in range(block.heads)]  # each sums to 1`
	].join("\n");
}
var heads = { id: "heads", title: "Heads", Component: Heads };

// src/merging.ts
var pair3 = (list) => [list[0], list[1]];
async function mergingOf(trace, block, token) {
	const { stages: stages2, blocks } = trace.manifest;
	const { stage: at, prefix, spatial } = blocks[block];
	const into = !stages2[at].merge;
	const stage = into ? at + 1 : at;
	const merge3 = stages2[stage]?.merge;
	if (!merge3 || token < prefix) return null;
	const number4 = token - prefix;
	const place = [Math.floor(number4 / spatial[1]), number4 % spatial[1]];
	const factor2 = pair3(merge3.factor);
	const parent = into ? [Math.floor(place[0] / factor2[0]), Math.floor(place[1] / factor2[1])] : place;
	const shares = merge3.share && merge3.after[0] > parent[0] && merge3.after[1] > parent[1] ? await sharesAt(trace, merge3.share, parent) : null;
	const firsts = blocks[stages2[stage - 1].blocks[0]].prefix;
	const children = Array.from({ length: factor2[0] * factor2[1] }, (_4, child) => {
		const below = [parent[0] * factor2[0] + Math.floor(child / factor2[1]), parent[1] * factor2[1] + child % factor2[1]];
		const there = below[0] < merge3.before[0] && below[1] < merge3.before[1];
		return {
			place: below,
			share: shares ? shares[child] : null,
			token: there ? firsts + below[0] * merge3.before[1] + below[1] : -1,
			own: into && below[0] === place[0] && below[1] === place[1]
		};
	});
	return {
		stage,
		parent,
		factor: factor2,
		children,
		into,
		before: pair3(merge3.before),
		after: pair3(merge3.after),
		number: stages2.slice(0, stage).filter((earlier) => earlier.merge).length,
		stride: pair3(stages2[stage].stride),
		below: pair3(stages2[stage - 1].stride),
		dims: [stages2[stage - 1].dim, stages2[stage].dim],
		overlap: pair3(merge3.overlap)
	};
}
async function sharesAt(trace, name2, [y5, x3]) {
	const { shape: shape2, data } = await trace.array(name2);
	const [, wide, children] = shape2;
	const codes = Array.from(data.subarray((y5 * wide + x3) * children, (y5 * wide + x3 + 1) * children));
	const sum = codes.reduce((total, code) => total + code, 0);
	return codes.map((code) => sum ? code / sum : 1 / children);
}
function unmerged({ stages: stages2, blocks }, block, token) {
	const { stage, prefix } = blocks[block];
	if (token < prefix) return "A prefix token has no place in the photo and is never merged. Choose a token of the picture.";
	if (stages2.length === 1) {
		return "This model never merges: all of its blocks work on one grid, so its tokens stay as small, and as many, as they began.";
	}
	return `No merge opens or follows stage ${stage + 1} of this model: its grid stays as it is.`;
}

// src/views/merge.tsx
var LETTERS = "abcdefghijklmnopqrstuvwxyz";
var letter2 = (child) => LETTERS[child] ?? String(child + 1);
function Merge({ app }) {
	const trace = app.trace.value;
	const { block, token } = app.state;
	const needs = [trace, block.value, token.value];
	const { value: merging, fresh, error } = useLoaded(() => mergingOf(trace, block.value, token.value), needs);
	const image = useLoaded(() => trace.image("shown"), [trace]).value;
	if (error) return a4("p", { class: "warning", role: "alert", children: error });
	if (!merging) return fresh ? a4(Without, { app }) : a4("div", { class: "merge-view" });
	const { stages: stages2 } = trace.manifest;
	return a4("div", { class: "merge-view", children: [
		a4("h2", { children: [
			"From stage ",
			merging.stage,
			" to stage ",
			merging.stage + 1
		] }),
		a4("p", { class: "note", children: [
			merging.into && "The chosen token was not merged but cut from the photo; what you see is the merge that it goes into. ",
			times(merging.factor),
			" neighbours become one token. ",
			overlapWords(merging),
			"Their ",
			merging.children.length,
			" ",
			"times ",
			count(merging.dims[0]),
			" numbers are mixed into ",
			count(merging.dims[1]),
			"; the grid shrinks from",
			" ",
			times(merging.before),
			" to ",
			times(merging.after),
			" tokens, and each now stands for ",
			times(merging.stride),
			" pixels."
		] }),
		stages2.filter(({ merge: merge3 }) => merge3).length > 1 && a4(Jumps, { app, merging }),
		image && a4(Lens, { app, merging, image })
	] });
}
function overlapWords({ overlap, factor: factor2 }) {
	if (!overlap.some((n3) => n3 > 0)) return "";
	return `This merge is a convolution that overlaps its neighbours: beside its own ${times(factor2)} tokens it looks at ${times(overlap)} more around them (dotted); what those give is not counted in the shares. `;
}
function Without({ app }) {
	const { manifest } = app.trace.value;
	return a4("div", { class: "merge-view", children: [
		a4("h2", { children: "No merge here" }),
		a4("p", { class: "note", "data-unmerged": true, children: unmerged(manifest, app.state.block.value, app.state.token.value) })
	] });
}
function Jumps({ app, merging }) {
	const { stages: stages2 } = app.trace.value.manifest;
	return a4("div", { class: "switch", role: "group", "aria-label": "Which merge", children: stages2.map(({ merge: merge3, blocks }, stage) => merge3 && a4(
		"button",
		{
			type: "button",
			"data-merge": stage,
			"aria-pressed": stage === merging.stage,
			onClick: () => chooseBlock(app, blocks[0]),
			children: [
				stage,
				" → ",
				stage + 1
			]
		},
		stage
	)) });
}
var SHARE_WORDS = "A share is how loud a child is: the length of what the merge adds for it, of the sum of all. Parts may cancel one another, and a loud child can still be ignored later.";
function Lens({ app, merging, image }) {
	const { children } = merging;
	const table2 = b(() => childTable(merging), [merging]);
	const numbers = b(() => ({
		shape: [children.length],
		data: Float32Array.from(children, (child) => child.share ?? NaN)
	}), [merging]);
	const place = `row ${merging.parent[0] + 1}, column ${merging.parent[1] + 1}`;
	return a4(
		Figure,
		{
			app,
			id: "merge",
			title: `What becomes the token at ${place} of stage ${merging.stage + 1}`,
			table: table2,
			numbers,
			python: () => mergeCode(app, merging),
			caption: SHARE_WORDS,
			children: a4("div", { class: "lens", children: [
				a4(Footprint, { app, merging, image }),
				a4("div", { class: "lens-pair", children: [
					a4(
						Crop,
						{
							merging,
							image,
							split: true,
							label: `The ${children.length} children`,
							words: `${children.length} tokens of ${count(merging.dims[0])} numbers`
						}
					),
					a4("span", { class: "arrow", "aria-hidden": "true", children: "→" }),
					a4(Crop, { merging, image, split: false, label: "Their parent", words: `one token of ${count(merging.dims[1])} numbers` })
				] }),
				a4(Shares, { merging })
			] })
		}
	);
}
function Shares({ merging }) {
	const { children } = merging;
	if (children.some((child) => child.share === null)) {
		return a4("p", { class: "note", children: "What each child gives is not known for this kind of merge." });
	}
	const most = Math.max(...children.map((child) => child.share));
	return a4("ul", { class: "shares", "aria-label": "What each child gives", children: children.map((child, i4) => a4("li", { "data-child": i4, "data-share": child.share, class: child.own ? "own" : "", children: [
		a4("b", { children: letter2(i4) }),
		a4("span", { children: [
			child.token < 0 ? "padding" : `row ${child.place[0] + 1}, column ${child.place[1] + 1}`,
			child.own ? " (chosen)" : ""
		] }),
		a4("span", { class: "bar-back", "aria-hidden": "true", children: a4("span", { class: "bar-fill", style: { width: `${100 * child.share / (most || 1)}%` } }) }),
		a4("span", { class: "number", children: share(child.share) })
	] }, i4)) });
}
var MOVES2 = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
function Footprint({ app, merging, image }) {
	const { photo: photo3, blocks } = app.trace.value.manifest;
	const [high, wide] = photo3.input;
	const { parent, stride } = merging;
	const ref = usePaint((canvas2, width) => {
		const scale2 = Math.min(width / wide, 420 / high);
		[canvas2.style.width, canvas2.style.height] = [`${wide * scale2}px`, `${high * scale2}px`];
		const context = pen(canvas2, wide * scale2, high * scale2);
		context.drawImage(image, 0, 0, wide * scale2, high * scale2);
		const unit2 = stride.map((n3) => n3 * scale2);
		context.beginPath();
		context.rect(0, 0, wide * scale2, high * scale2);
		context.rect(parent[1] * unit2[1], parent[0] * unit2[0], unit2[1], unit2[0]);
		context.fillStyle = "rgb(12 10 18 / .42)";
		context.fill("evenodd");
		strokeEdges(context, childLines(merging), merging.below.map((n3) => n3 * scale2), "#fff", 1.5, [], 1);
		const around = frameOf(merging);
		if (around) strokeEdges(context, around, merging.below.map((n3) => n3 * scale2), "#fff", 1.5, [2, 3]);
		strokeEdges(context, outline(...parent), unit2, MARK, 3);
	}, [merging, image]);
	const facts = blocks[app.state.block.value];
	const go2 = (place) => {
		const token = tokenAt(facts, place, photo3.input);
		app.state.token.value = token;
		app.say(`Row ${Math.floor((token - facts.prefix) / facts.spatial[1]) + 1}, column ${(token - facts.prefix) % facts.spatial[1] + 1}.`);
	};
	const press2 = (event) => {
		const step3 = MOVES2[event.key];
		if (!step3) return;
		event.preventDefault();
		const [y5, x3] = placeOf(facts, app.state.token.value, photo3.input);
		go2([y5 + step3[0] * facts.stride[0] / high, x3 + step3[1] * facts.stride[1] / wide]);
	};
	const click = (event) => {
		const box = event.currentTarget.getBoundingClientRect();
		go2([(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width]);
	};
	return a4("div", { class: "footprint", children: [
		a4("div", { children: a4(
			"canvas",
			{
				ref,
				tabIndex: 0,
				role: "application",
				"aria-roledescription": "picture of tokens",
				"data-footprint": parent.join(),
				"aria-label": "The photo with the pixels of the merged token; arrows choose another",
				onClick: click,
				onKeyDown: press2
			}
		) }),
		a4("p", { children: [
			"its pixels: rows ",
			parent[0] * stride[0],
			"–",
			Math.min(high, (parent[0] + 1) * stride[0]) - 1,
			", columns",
			" ",
			parent[1] * stride[1],
			"–",
			Math.min(wide, (parent[1] + 1) * stride[1]) - 1
		] })
	] });
}
function childLines({ parent, factor: factor2 }) {
	const [top, left] = [parent[0] * factor2[0], parent[1] * factor2[1]];
	const lines3 = [];
	for (let y5 = 1; y5 < factor2[0]; y5++) lines3.push([top + y5, left, top + y5, left + factor2[1]]);
	for (let x3 = 1; x3 < factor2[1]; x3++) lines3.push([top, left + x3, top + factor2[0], left + x3]);
	return lines3;
}
function frameOf({ parent, factor: factor2, overlap }) {
	if (!overlap.some((n3) => n3 > 0)) return null;
	const [y5, x3] = [0, 1].map((axis) => parent[axis] * factor2[axis] - overlap[axis]);
	return outline(y5, x3, factor2[0] + 2 * overlap[0], factor2[1] + 2 * overlap[1]);
}
function Crop({ merging, image, split, label: label2, words }) {
	const { parent, stride, factor: factor2, children, before, below } = merging;
	const ref = usePaint((canvas2, width) => {
		const size = Math.min(220, width);
		const [h5, w5] = [size * Math.min(1, stride[0] / stride[1]), size * Math.min(1, stride[1] / stride[0])];
		[canvas2.style.width, canvas2.style.height] = [`${w5}px`, `${h5}px`];
		const context = pen(canvas2, w5, h5);
		const unit2 = [h5 / 2, w5 / 2];
		fillWith(context, DOTS(), 0, 0, w5, h5);
		const grid = before.map((n3, axis) => n3 * below[axis] / stride[axis]);
		const [fy, fx] = [0, 1].map((axis) => grid[axis] * unit2[axis]);
		context.drawImage(image, (0.5 - parent[1]) * unit2[1], (0.5 - parent[0]) * unit2[0], fx, fy);
		context.beginPath();
		context.rect(0, 0, w5, h5);
		context.rect(w5 / 4, h5 / 4, unit2[1], unit2[0]);
		context.fillStyle = "rgb(12 10 18 / .5)";
		context.fill("evenodd");
		const cell2 = [unit2[0] / factor2[0], unit2[1] / factor2[1]];
		const start = [h5 / 4 / cell2[0], w5 / 4 / cell2[1]];
		if (split) {
			const moved2 = childLines({ ...merging, parent: [0, 0] }).map(([y0, x0, y1, x1]) => [y0 + start[0], x0 + start[1], y1 + start[0], x1 + start[1]]);
			strokeEdges(context, moved2, cell2, "#fff", 2);
			children.forEach((child, i4) => name(
				context,
				child.own ? `${letter2(i4)} ★` : letter2(i4),
				(start[1] + i4 % factor2[1] + 0.5) * cell2[1],
				(start[0] + Math.floor(i4 / factor2[1]) + 0.5) * cell2[0]
			));
		}
		strokeEdges(context, outline(0.5, 0.5), unit2, MARK, 3);
	}, [merging, image]);
	return a4("div", { class: "crop", children: [
		a4("p", { class: "head-name", children: label2 }),
		a4("div", { children: a4("canvas", { ref, role: "img", "aria-label": `${label2}: ${words}` }) }),
		a4("p", { children: words })
	] });
}
function name(context, text, x3, y5) {
	context.font = '650 15px system-ui, "DejaVu Sans", sans-serif';
	[context.textAlign, context.textBaseline, context.lineJoin] = ["center", "middle", "round"];
	context.strokeStyle = "rgb(0 0 0 / .75)";
	context.lineWidth = 4;
	context.strokeText(text, x3, y5);
	context.fillStyle = "#fff";
	context.fillText(text, x3, y5);
}
function childTable({ children, below }) {
	return {
		columns: ["child", "row", "column", "pixel rows", "pixel columns", "share"],
		rows: children.map(({ place, share: gives, token }, i4) => [
			token < 0 ? `${letter2(i4)} (padding)` : letter2(i4),
			String(place[0] + 1),
			String(place[1] + 1),
			`${place[0] * below[0]}–${(place[0] + 1) * below[0] - 1}`,
			`${place[1] * below[1]}–${(place[1] + 1) * below[1] - 1}`,
			gives ?? "not known"
		]),
		data: (i4) => ({ "data-token": children[i4].token, "data-weight": children[i4].share?.toFixed(7) ?? "" })
	};
}
function mergeCode(app, { number: number4, parent }) {
	return [
		prelude(app),
		`merge = trace.merges[${number4}]`,
		`shares = merge.share[${parent.join(", ")}]  # of the children, row by row`
	].join("\n");
}
var merge2 = { id: "merge", title: "Merge", Component: Merge };

// src/views/reach-canvas.ts
function fit2(canvas2, width, height) {
	const ratio = window.devicePixelRatio || 1;
	[canvas2.width, canvas2.height] = [Math.round(width * ratio), Math.round(height * ratio)];
	Object.assign(canvas2.style, { width: `${width}px`, height: `${height}px` });
	const context = canvas2.getContext("2d");
	context.setTransform(ratio, 0, 0, ratio, 0, 0);
	return context;
}
function darken(context, { height, width }, lit, area2) {
	const dark = document.createElement("canvas");
	[dark.width, dark.height] = [width, height];
	const pen2 = dark.getContext("2d");
	const pixels2 = pen2.createImageData(width, height);
	for (let cell2 = 0; cell2 < height * width; cell2++) if (!lit(cell2)) pixels2.data.set([12, 10, 18, 185], 4 * cell2);
	pen2.putImageData(pixels2, 0, 0);
	context.imageSmoothingEnabled = false;
	context.drawImage(dark, ...area2);
}

// src/views/reach-panel.tsx
function Panel2({ app, id, tag, title, map: map2, mask: mask2, caption, code, missing }) {
	return a4("section", { class: "part panel", "data-panel": id, children: [
		a4("p", { class: "tag", children: tag }),
		a4(
			Figure,
			{
				app,
				id,
				title,
				caption,
				numbers: map2 ? () => ({ shape: [map2.height, map2.width], data: map2.values }) : void 0,
				table: map2 ? () => brightest(map2, app.trace.value.manifest.photo.input) : void 0,
				python: () => `${prelude(app)}
${code}`,
				children: [
					a4(Over, { app, map: map2, mask: mask2 ?? false, label: title }),
					missing && a4("p", { class: "note", children: missing })
				]
			}
		)
	] });
}
function Over({ app, map: map2, mask: mask2, label: label2 }) {
	const trace = app.trace.value;
	const { value: image } = useLoaded(() => trace.image("shown"), [trace]);
	const [high, wide] = trace.manifest.photo.input;
	const ref = usePaint((canvas2, width) => {
		const height = width * high / wide;
		const context = fit2(canvas2, width, height);
		if (image) context.drawImage(image, 0, 0, width, height);
		if (map2 && mask2) darken(context, map2, (cell2) => map2.values[cell2] > 0, [0, 0, width, height]);
		else if (map2) drawHeat(context, map2, [0, 0, width, height], { alpha: 0.72 });
	}, [image, map2, mask2, high, wide]);
	return a4("div", { class: "over", style: { aspectRatio: `${wide} / ${high}` }, children: a4("canvas", { ref, role: "img", "aria-label": label2 }) });
}
function brightest({ height, width, values }, input) {
	const order = Array.from(values.keys()).sort((a5, b4) => values[b4] - values[a5]).slice(0, 200);
	const span = (at, many, axis) => `${Math.round(at * input[axis] / many)}–${Math.round((at + 1) * input[axis] / many) - 1}`;
	return {
		columns: ["pixel rows", "pixel columns", "value"],
		rows: order.map((cell2) => [span(Math.floor(cell2 / width), height, 0), span(cell2 % width, width, 1), values[cell2]])
	};
}

// src/views/outcome.tsx
var MOVES3 = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
var lastOf = (trace, stage) => Math.max(...trace.manifest.stages[stage].blocks);
function Outcome({ app }) {
	const trace = app.trace.value;
	const { blocks, stages: stages2, photo: { input } } = trace.manifest;
	const { value: mask2, error } = useLoaded(() => loadMask(trace), [trace]);
	const [kept, keep] = d2(null);
	const [block, token] = [app.state.block.value, app.state.token.value];
	const facts = blocks[block];
	const own = kept && kept.block === block && kept.token === token ? kept.pixel : null;
	const middle = (token < facts.prefix ? [0.5, 0.5] : placeOf(facts, token, input)).map((p5, axis) => Math.min(input[axis] - 1, Math.floor(p5 * input[axis])));
	const pixel = own ?? middle;
	const ends = lastOf(trace, facts.stage) === block;
	A2(() => {
		if (!ends) chooseBlock(app, lastOf(trace, stages2.length - 1));
	}, [ends]);
	const choose = (at, stage = facts.stage) => {
		const chosen = lastOf(trace, stage);
		const place = at.map((n3, axis) => (n3 + 0.5) / input[axis]);
		chooseBlock(app, chosen, place);
		keep({ pixel: at, block: chosen, token: tokenAt(blocks[chosen], place, input) });
		if (!mask2) return;
		const { cls, label: label2, certainty } = classAt(trace, mask2, at);
		app.state.cls.value = cls;
		app.say(`Pixel row ${at[0] + 1}, column ${at[1] + 1}: ${label2}, ${share(certainty)}.`);
	};
	return a4("div", { class: "outcome", children: [
		error && a4("p", { class: "warning", role: "alert", children: error }),
		a4("div", { class: "outcome-columns", children: [
			mask2 && a4(Picture2, { app, mask: mask2, pixel, onChoose: choose }),
			a4("div", { class: "outcome-looks", children: [
				stages2.length > 1 && a4(
					Switch,
					{
						label: "Look from the end of",
						value: String(facts.stage),
						choices: stages2.map((_4, stage) => ({ id: String(stage), label: `Stage ${stage + 1}` })),
						onChange: (stage) => choose(pixel, Number(stage))
					}
				),
				a4(Looked, { app, block, token, pixel }),
				a4(Raised, { app, pixel })
			] })
		] })
	] });
}
var outcome = { id: "outcome", title: "Mask", Component: Outcome, shown: ({ outcome: { kind } }) => kind === "mask" };
function Picture2({ app, mask: mask2, pixel, onChoose }) {
	const trace = app.trace.value;
	const { outcome: { classes }, photo: { input } } = trace.manifest;
	const facts = trace.manifest.blocks[app.state.block.value];
	const [shown, show] = d2(true);
	const [strength, cover] = d2(50);
	const { cls, label: label2, certainty } = classAt(trace, mask2, pixel);
	return a4(
		Figure,
		{
			app,
			id: "mask",
			title: "What the model takes each pixel for",
			readout: a4("span", { "data-class-at": cls, children: [
				"Pixel row ",
				pixel[0] + 1,
				", column ",
				pixel[1] + 1,
				": ",
				a4("b", { children: label2 }),
				", ",
				share(certainty),
				"; ",
				tokenWords(facts, app.state.token.value),
				" of the ",
				times(facts.spatial),
				" tokens after ",
				blockName(facts)
			] }),
			caption: "Click, or use the arrow keys, to choose a place. The mask is what the model gives at this size of input; nothing is smoothed.",
			table: () => ({ columns: ["class", "name", "share of the pixels"], rows: classes.map((row) => [row.class, row.label, row.share]), data: (row) => ({ class: classes[row].class }) }),
			numbers: () => ({ shape: [mask2.height, mask2.width], data: Float32Array.from(mask2.labels) }),
			python: () => `${prelude(app)}
mask = report.arrays.get("outcome/mask")  # the number of each pixel's class`,
			children: [
				a4(Painted, { app, mask: mask2, pixel, strength: shown ? strength / 100 : 0, onChoose }),
				a4(Legend2, { app }),
				a4("div", { class: "controls", children: [
					a4("label", { class: "check", children: [
						a4("input", { type: "checkbox", "data-mask-shown": true, checked: shown, onInput: (event) => show(event.currentTarget.checked) }),
						" show the mask"
					] }),
					a4(Slider, { label: "Mask", value: strength, min: 0, max: 100, disabled: !shown, words: (n3) => `${n3} %`, onInput: cover })
				] }),
				a4("p", { class: "away", id: "mask-hint", children: [
					plural(input[0], "row"),
					" of ",
					plural(input[1], "pixel"),
					"; arrows move by a token."
				] })
			]
		}
	);
}
function Painted({ app, mask: mask2, pixel, strength, onChoose }) {
	const trace = app.trace.value;
	const [high, wide] = trace.manifest.photo.input;
	const { stride, spatial, prefix } = trace.manifest.blocks[app.state.block.value];
	const token = app.state.token.value - prefix;
	const { value: image } = useLoaded(() => trace.image("shown"), [trace]);
	const ref = usePaint((canvas2, width) => {
		const height = width * high / wide;
		const context = fit2(canvas2, width, height);
		if (image) context.drawImage(image, 0, 0, width, height);
		context.imageSmoothingEnabled = false;
		if (strength > 0) {
			context.globalAlpha = strength;
			context.drawImage(pixelsOf(mask2, colours(trace), trace.manifest.outcome.background), 0, 0, width, height);
			context.globalAlpha = 1;
		}
		const unit2 = [height / high, width / wide];
		if (token >= 0) strokeEdges(context, outline(Math.floor(token / spatial[1]) * stride[0], token % spatial[1] * stride[1], stride[0], stride[1]), unit2, "#ffd84a", 2);
		strokeEdges(context, cross(pixel, 4 / unit2[0], 4 / unit2[1]), unit2, "#ffffff", 1.5);
	}, [image, mask2, strength, pixel[0], pixel[1], token, stride, high, wide]);
	const at = (event) => {
		const box = event.currentTarget.getBoundingClientRect();
		const places = [(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width];
		onChoose(places.map((p5, axis) => Math.min([high, wide][axis] - 1, Math.max(0, Math.floor(p5 * [high, wide][axis])))));
	};
	const press2 = (event) => {
		const move = MOVES3[event.key];
		if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
		event.preventDefault();
		onChoose(pixel.map((n3, axis) => Math.min([high, wide][axis] - 1, Math.max(0, n3 + move[axis] * stride[axis]))));
	};
	return a4("div", { class: "over", style: { aspectRatio: `${wide} / ${high}` }, children: a4(
		"canvas",
		{
			ref,
			class: "canvas",
			"data-mask": true,
			tabIndex: 0,
			role: "application",
			"aria-roledescription": "picture of classes",
			"aria-describedby": "mask-hint",
			"aria-label": `The photo with the class of each of its ${times([high, wide])} pixels`,
			onClick: at,
			onKeyDown: press2
		}
	) });
}
var cross = ([y5, x3], high, wide) => [[y5 + 0.5 - high, x3 + 0.5, y5 + 0.5 + high, x3 + 0.5], [y5 + 0.5, x3 + 0.5 - wide, y5 + 0.5, x3 + 0.5 + wide]];
function Legend2({ app }) {
	const { classes, background } = app.trace.value.manifest.outcome;
	return a4("ul", { class: "mask-legend", "aria-label": "Classes; choose one to see what raises it at the chosen pixel", children: classes.map(({ class: id, label: label2, colour: colour2, share: part }) => a4("li", { children: a4("button", { type: "button", "data-mask-class": id, "aria-pressed": app.state.cls.value === id, onClick: () => {
		app.state.cls.value = id;
	}, children: [
		a4("svg", { viewBox: "0 0 14 14", "aria-hidden": "true", children: a4("rect", { width: "14", height: "14", rx: "3", fill: background && id === 0 ? "none" : colour2, stroke: "currentColor" }) }),
		label2,
		a4("span", { class: "number", children: share(part) })
	] }) }, id)) });
}
function Looked({ app, block, token, pixel }) {
	const trace = app.trace.value;
	const { value: map2, error } = useLoaded(() => trace.rollout(block, token), [trace, block, token]);
	return a4(
		Panel2,
		{
			app,
			id: "looked",
			tag: "attention is routing, not importance",
			title: "What did this pixel look at?",
			map: map2,
			missing: error,
			code: `from vitrail.explain import rollout_from
map = rollout_from(trace, (${pixel.join(", ")}), block=${block})  # of the first stage's tokens; sums to one`,
			caption: a4($, { children: [
				"Rollout of the token over the pixel: weights multiplied back through ",
				plural(block + 1, "block"),
				". The head reads the maps of all stages; choose another to look from there."
			] })
		}
	);
}
function Raised({ app, pixel }) {
	const trace = app.trace.value;
	const { methods, on_demand: demand, outcome: { classes } } = trace.manifest;
	const offered = methods.filter(({ per_class: own }) => own);
	const method = offered.find(({ id }) => id === app.state.method.value) ?? offered[0];
	const cls = app.state.cls.value;
	const { value: map2, error, fresh } = useLoaded(() => method && demand ? trace.mapAt(method.id, cls, pixel) : null, [trace, method?.id, cls, pixel[0], pixel[1]]);
	if (!method) return null;
	if (!demand) return a4("p", { class: "note", "data-raised": "no", children: [
		"What raises a class at one pixel takes the model: ",
		a4("code", { children: "vitrail explore PHOTO --serve" }),
		" and notebooks show it. Maps of whole classes are under “Reach”."
	] });
	return a4("div", { "data-raised": cls, children: [
		a4(Switch, { label: "Method", value: method.id, choices: offered.map(({ id, title }) => ({ id, label: title })), onChange: (id) => {
			app.state.method.value = id;
		} }),
		a4(
			Panel2,
			{
				app,
				id: "raised",
				tag: "gradient of the class's score",
				title: `What raises “${classes[cls]?.label ?? cls}” here?`,
				map: fresh ? map2 : null,
				missing: fresh ? error : "Being computed…",
				code: `map = report.arrays.get("map/${method.id}/${cls}/${pixel.join("/")}")`,
				caption: method.text
			}
		)
	] });
}

// src/ui/Glyph.tsx
var tone = (block) => block.second ? "sw" : "w";
function Glyph({ block }) {
	return a4("svg", { class: `glyph ${tone(block)}`, viewBox: "0 0 16 16", "aria-hidden": "true", children: a4("path", { d: block.glyph }) });
}

// src/views/pyramid.tsx
var WIDE = 164;
var LEAST = 22;
var SLANT = 0.42;
var DEEP = 0.5;
function planeSize({ spatial, stride }, first) {
	const width = Math.max(LEAST, WIDE * spatial[1] / Math.max(first.spatial[1], first.spatial[0]));
	const depth = width * (spatial[0] * stride[0]) / (spatial[1] * stride[1]);
	return { width, depth, high: Math.ceil(depth * DEEP + 6), wide: Math.ceil(width + depth * SLANT + 4) };
}
function Pyramid({ app }) {
	const trace = app.trace.value;
	const { stages: stages2, blocks } = trace.manifest;
	const list = T2(null);
	const tallest = Math.max(...stages2.map((stage) => planeSize(stage, stages2[0]).high));
	const kinds = w2(() => [...new Map(blocks.map((block) => [block.label, block])).values()], [blocks]);
	const move = (event) => {
		const last = blocks.length - 1;
		const now = app.state.block.value;
		const next = step2(event.key, now, last, stages2);
		if (next === null) return;
		event.preventDefault();
		chooseBlock(app, next);
		say(app, blocks[next], trace);
		requestAnimationFrame(() => list.current?.querySelector(`[data-bead="${next}"]`)?.focus());
	};
	return a4("div", { class: "pyramid", children: [
		a4("h2", { children: "Its stages and their blocks" }),
		a4("p", { class: "note", children: [
			"Each stage covers the whole photo with fewer, larger tokens. Choose a block:",
			" ",
			kinds.map((block, i4) => a4($, { children: [
				i4 ? ", " : "",
				a4("span", { class: "bead-key", children: [
					a4(Glyph, { block }),
					" ",
					a4("b", { children: block.label }),
					" ",
					block.title
				] })
			] }, block.label)),
			"."
		] }),
		a4("div", { class: "stages", role: "group", "aria-label": "Blocks, stage by stage", ref: list, onKeyDown: move, children: stages2.map((_4, i4) => a4(StageColumn, { app, trace, index: i4, tallest }, i4)) })
	] });
}
function step2(key, now, last, stages2) {
	const at = stages2.findIndex(({ blocks }) => blocks.includes(now));
	const across = (by) => {
		const next = stages2[Math.min(stages2.length - 1, Math.max(0, at + by))];
		return next.blocks[Math.min(next.blocks.length - 1, stages2[at].blocks.indexOf(now))];
	};
	switch (key) {
		case "ArrowRight":
			return Math.min(last, now + 1);
		case "ArrowLeft":
			return Math.max(0, now - 1);
		case "ArrowDown":
			return across(1);
		case "ArrowUp":
			return across(-1);
		case "Home":
			return 0;
		case "End":
			return last;
		default:
			return null;
	}
}
function say(app, block, trace) {
	const { dim } = trace.manifest.stages[block.stage];
	app.say(`${blockName(block)}, ${block.title}. ${times(block.spatial)} tokens of ${dim} numbers.`);
}
function StageColumn({ app, trace, index, tallest }) {
	const { stages: stages2, blocks, model } = trace.manifest;
	const stage = stages2[index];
	const chosen = stage.blocks.includes(app.state.block.value);
	const shown = chosen ? app.state.block.value : stage.blocks[stage.blocks.length - 1];
	const { merge: merge3, spatial, stride, dim } = stage;
	const origin = merge3 ? `merged ${times(merge3.factor)} → 1` : index ? "not merged" : `cut into patches of ${times(model.patch)}`;
	return a4("div", { class: `stage${chosen ? " chosen" : ""}`, "data-stage": index, children: [
		a4("div", { class: "plane-box", style: { minHeight: `${tallest}px` }, children: a4(Plane, { app, trace, block: shown, chosen, size: planeSize(stage, stages2[0]) }) }),
		a4("p", { class: "name", children: [
			"Stage ",
			index + 1
		] }),
		a4("p", { class: "origin", children: origin }),
		a4("dl", { class: "sizes", children: [
			a4("div", { children: [
				a4("dt", { children: "tokens" }),
				a4("dd", { "data-tokens": spatial.join("x"), children: [
					times(spatial),
					a4("small", { children: [
						" = ",
						count(spatial[0] * spatial[1])
					] })
				] })
			] }),
			a4("div", { children: [
				a4("dt", { children: "each" }),
				a4("dd", { "data-stride": stride.join("x"), children: [
					times(stride),
					" pixels"
				] })
			] }),
			a4("div", { children: [
				a4("dt", { children: "dim" }),
				a4("dd", { "data-dim": dim, children: [
					count(dim),
					" numbers"
				] })
			] })
		] }),
		a4("div", { class: "beads", role: "group", "aria-label": `Blocks of stage ${index + 1}`, children: stage.blocks.map((number4) => a4(Bead, { app, block: blocks[number4], number: number4, small: stage.blocks.length > 6 }, number4)) })
	] });
}
function Bead({ app, block, number: number4, small }) {
	const chosen = app.state.block.value === number4;
	return a4(
		"button",
		{
			type: "button",
			class: `bead ${tone(block)}${small ? " small" : ""}`,
			"data-bead": number4,
			"aria-pressed": chosen,
			tabIndex: chosen ? 0 : -1,
			"aria-label": `${block.label}: ${blockName(block)}, ${block.title}`,
			title: `${blockName(block)}: ${block.title}`,
			onClick: () => {
				chooseBlock(app, number4);
				say(app, block, app.trace.value);
			},
			children: [
				a4(Glyph, { block }),
				a4("span", { children: block.label })
			]
		}
	);
}
function Plane({ app, trace, block, chosen, size }) {
	const facts = trace.manifest.blocks[block];
	const [rows, columns] = facts.spatial;
	const { high, wide } = size;
	const rgb3 = useLoaded(() => trace.array(facts.rgb), [trace, block]).value;
	const place = facts.prefix > app.state.token.value || !chosen ? null : placeOf(facts, app.state.token.value, [rows * facts.stride[0], columns * facts.stride[1]]);
	const ref = usePaint((canvas2) => {
		const skin = rgb3 && rgb3.shape[0] === rows && rgb3.shape[1] === columns ? texture(rgb3.data, rows, columns) : null;
		paintPlane(canvas2, { ...size, rows, columns, place, texture: skin });
	}, [rgb3, block, chosen, place?.join(), wide]);
	return a4("div", { class: "plane", style: { width: `${wide}px`, height: `${high}px` }, children: a4(
		"canvas",
		{
			ref,
			role: "img",
			"data-plane": block,
			style: { width: `${wide}px`, height: `${high}px` },
			"aria-label": `${times(facts.spatial)} tokens of ${blockName(facts)}, coloured by their features`
		}
	) });
}
function texture(rgb3, rows, columns) {
	const canvas2 = document.createElement("canvas");
	[canvas2.width, canvas2.height] = [columns, rows];
	const context = canvas2.getContext("2d");
	const image = context.createImageData(columns, rows);
	for (let i4 = 0; i4 < rows * columns; i4++) image.data.set([rgb3[3 * i4], rgb3[3 * i4 + 1], rgb3[3 * i4 + 2], 255], 4 * i4);
	context.putImageData(image, 0, 0);
	return canvas2;
}
function paintPlane(canvas2, look) {
	const { width, depth, wide, high, rows, columns, place, texture: skin } = look;
	const ratio = window.devicePixelRatio || 1;
	[canvas2.width, canvas2.height] = [Math.ceil(wide * ratio), Math.ceil(high * ratio)];
	const context = canvas2.getContext("2d");
	context.setTransform(ratio, 0, 0, ratio, 0, 0);
	const left = 2;
	context.fillStyle = "rgb(60 54 70 / .55)";
	context.beginPath();
	context.moveTo(left, 1 + depth * DEEP);
	context.lineTo(left + width, 1 + depth * DEEP);
	context.lineTo(left + width + depth * SLANT, 1);
	context.lineTo(left + width + depth * SLANT, 4);
	context.lineTo(left + width, 4 + depth * DEEP);
	context.lineTo(left, 4 + depth * DEEP);
	context.fill();
	context.setTransform(ratio, 0, -SLANT * ratio, DEEP * ratio, (left + depth * SLANT) * ratio, ratio);
	context.imageSmoothingEnabled = false;
	if (skin) context.drawImage(skin, 0, 0, width, depth);
	else fillWith(context, DOTS(), 0, 0, width, depth);
	if (width / columns >= 5) lines2(context, width, depth, rows, columns);
	if (!place) return;
	const [h5, w5] = [Math.max(depth / rows, 4), Math.max(width / columns, 4)];
	const [y5, x3] = [place[0] * depth - h5 / 2, place[1] * width - w5 / 2];
	for (const [ink, line] of [["rgb(0 0 0 / .7)", 4], ["#ffd84a", 2]]) {
		context.strokeStyle = ink;
		context.lineWidth = line;
		context.strokeRect(x3, y5, w5, h5);
	}
}
function lines2(context, width, depth, rows, columns) {
	context.strokeStyle = "rgb(255 255 255 / .28)";
	context.lineWidth = 0.7;
	context.beginPath();
	for (let y5 = 1; y5 < rows; y5++) {
		context.moveTo(0, y5 * depth / rows);
		context.lineTo(width, y5 * depth / rows);
	}
	for (let x3 = 1; x3 < columns; x3++) {
		context.moveTo(x3 * width / columns, 0);
		context.lineTo(x3 * width / columns, depth);
	}
	context.stroke();
}
var pyramid = { id: "pyramid", title: "Stages and blocks", Component: Pyramid };

// src/support.ts
function seenBy(block, tokens2) {
	const { queries, keys, queriesPerGroup, keysPerGroup, groups: groups2, queryLabels, keyLabels, prefix, columns, total } = block;
	const found = new Uint8Array(tokens2);
	const labelled = queryLabels !== null && keyLabels !== null;
	for (let group = 0; group < groups2; group++) {
		const labels = /* @__PURE__ */ new Set();
		for (let slot = group * queriesPerGroup; slot < (group + 1) * queriesPerGroup; slot++) {
			if (queries[slot] >= 0 && tokens2[queries[slot]]) labels.add(labelled ? queryLabels[slot] : 0);
		}
		if (!labels.size) continue;
		for (let key = group * keysPerGroup; key < (group + 1) * keysPerGroup; key++) {
			if (keys[key] < 0 || !labels.has(labelled ? keyLabels[key] : 0)) continue;
			if (keys[key] < total) {
				found[keys[key]] = 1;
				continue;
			}
			const box = boxOf(block, key);
			if (box) for (let y5 = box[0]; y5 < box[2]; y5++) found.fill(1, prefix + y5 * columns + box[1], prefix + y5 * columns + box[3]);
		}
	}
	return found;
}
function support(manifest, groups2, block, token) {
	const from = manifest.blocks[block];
	let tokens2 = new Uint8Array(groups2[block].total);
	tokens2[token] = 1;
	const stages2 = [];
	for (let stage = from.stage; stage >= 0; stage--) {
		const { spatial, stride, blocks } = manifest.stages[stage];
		const prefix = manifest.blocks[blocks[0]].prefix;
		const before = tokens2.slice(prefix);
		for (const index of blocks.filter((index2) => index2 <= block).reverse()) tokens2 = seenBy(groups2[index], tokens2);
		const enters = tokens2.slice(prefix);
		stages2.push({
			stage,
			spatial: [spatial[0], spatial[1]],
			stride: [stride[0], stride[1]],
			before,
			enters,
			count: enters.reduce((sum, flag) => sum + flag, 0)
		});
		if (stage > 0) tokens2 = unmerge2(manifest, stage, enters, manifest.blocks[manifest.stages[stage - 1].blocks[0]].prefix);
	}
	return { stages: stages2, ...pixels(manifest, stages2[stages2.length - 1]) };
}
function unmerge2(manifest, stage, tokens2, prefix) {
	const { merge: merge3, spatial } = manifest.stages[stage];
	const below = manifest.stages[stage - 1].spatial;
	const factor2 = merge3?.factor ?? [1, 1];
	const finer = new Uint8Array(prefix + below[0] * below[1]);
	tokens2.forEach((flag, place) => {
		if (!flag) return;
		const [y5, x3] = [Math.floor(place / spatial[1]) * factor2[0], place % spatial[1] * factor2[1]];
		for (let v4 = y5; v4 < Math.min(y5 + factor2[0], below[0]); v4++) {
			for (let h5 = x3; h5 < Math.min(x3 + factor2[1], below[1]); h5++) finer[prefix + v4 * below[1] + h5] = 1;
		}
	});
	return finer;
}
function pixels({ photo: photo3, model }, { spatial, stride, enters }) {
	const [high, wide] = photo3.input;
	const flags = new Uint8Array(high * wide);
	enters.forEach((flag, place) => {
		if (!flag) return;
		const at = [Math.floor(place / spatial[1]), place % spatial[1]];
		const [y02, x02] = at.map((p5, axis) => Math.max(0, p5 * stride[axis] - model.overlap[axis]));
		const [y12, x12] = at.map((p5, axis) => Math.min(photo3.input[axis], (p5 + 1) * stride[axis] + model.overlap[axis]));
		for (let y5 = y02; y5 < y12; y5++) flags.fill(1, y5 * wide + x02, y5 * wide + x12);
	});
	const rows = Array.from({ length: high }, (_4, y5) => y5).filter((y5) => flags.subarray(y5 * wide, (y5 + 1) * wide).includes(1));
	const columns = Array.from({ length: wide }, (_4, x3) => x3).filter((x3) => rows.some((y5) => flags[y5 * wide + x3]));
	const ends = (list) => [list[0] ?? 0, (list[list.length - 1] ?? -1) + 1];
	const [[y0, y1], [x0, x1]] = [ends(rows), ends(columns)];
	return { pixels: flags, box: [y0, x0, y1, x1], share: flags.reduce((sum, flag) => sum + flag, 0) / (high * wide) };
}

// src/reach.ts
async function theory(trace, block, token) {
	const { blocks } = trace.manifest;
	const below = blocks.slice(0, block + 1);
	const groups2 = await Promise.all(below.map((_4, index) => groupsOf(trace, index)));
	const whole = below.every(({ mean, chosen }) => mean !== null && chosen === null);
	return { support: support(trace.manifest, groups2, block, token), rows: whole ? await rolloutStages(trace, block, token) : null };
}
async function field(trace, block, token) {
	const { manifest, source } = trace;
	const { stage, prefix, spatial } = manifest.blocks[block];
	const stored = manifest.reach.find((reach2) => reach2.stage === stage)?.erf ?? null;
	const [y5, x3] = [Math.floor((token - prefix) / spatial[1]), (token - prefix) % spatial[1]];
	const centre = [Math.floor(spatial[0] / 2), Math.floor(spatial[1] / 2)];
	const middle = y5 === centre[0] && x3 === centre[1];
	const name2 = `erf/${stage}/${y5}/${x3}`;
	if (token >= prefix && !(middle && stored) && (manifest.on_demand && stored !== null || source.has(name2))) return { map: await trace.map2d(name2), own: true, stage, place: [y5, x3] };
	return stored === null ? null : { map: await trace.map2d(stored), own: middle && token >= prefix, stage, place: centre };
}
function halfWithin({ height, width, values }, input) {
	const [uy, ux] = [input[0] / height, input[1] / width];
	let [sum, cy, cx] = [0, 0, 0];
	values.forEach((value2, i4) => {
		sum += value2;
		cy += value2 * (Math.floor(i4 / width) + 0.5) * uy;
		cx += value2 * (i4 % width + 0.5) * ux;
	});
	if (!(sum > 0)) return 0;
	[cy, cx] = [cy / sum, cx / sum];
	const cells2 = Array.from(values, (value2, i4) => ({ value: value2, off: Math.hypot((Math.floor(i4 / width) + 0.5) * uy - cy, (i4 % width + 0.5) * ux - cx) }));
	cells2.sort((a5, b4) => a5.off - b4.off);
	let held2 = 0;
	for (const { value: value2, off: off2 } of cells2) {
		held2 += value2;
		if (held2 >= sum / 2) return off2;
	}
	return cells2[cells2.length - 1].off;
}

// src/views/reach-map.tsx
function MethodMap({ app }) {
	const trace = app.trace.value;
	const { manifest, source } = trace;
	const { methods, maps, on_demand: demand } = manifest;
	const offered = methods.filter(({ id }) => demand || maps.some((map3) => map3.method === id));
	const method = offered.find(({ id }) => id === app.state.method.value) ?? offered[0];
	const classes = method ? known2(app, method) : [];
	const wished = app.state.cls.value;
	const cls = demand || classes.includes(wished) ? wished : classes[0] ?? wished;
	const wanted = method?.per_class ? cls : null;
	const { value: map2, error, fresh } = useLoaded(() => method ? trace.map(method.id, wanted) : null, [trace, source, method?.id, wanted]);
	const making = !fresh && !maps.some((made) => made.method === method?.id && (made.class === null || made.class === wanted));
	if (!method) return a4("p", { class: "note part", children: "This trace keeps no maps." });
	return a4("section", { class: "part method", "data-method-map": method.id, "data-class": wanted ?? "", children: [
		a4("div", { class: "bar", children: [
			a4("h3", { children: method.per_class ? `Which pixels support “${className(app, cls)}”?` : "Where is the output routed from?" }),
			a4(
				Switch,
				{
					label: "Method",
					value: method.id,
					onChange: (id) => {
						app.state.method.value = id;
					},
					choices: offered.map(({ id, title }) => ({ id, label: title }))
				}
			),
			method.per_class && classes.length > 1 && a4("label", { class: "choose", children: [
				"class ",
				a4("select", { value: cls, onChange: (event) => {
					app.state.cls.value = Number(event.currentTarget.value);
				}, children: classes.map((id) => a4("option", { value: id, children: className(app, id) }, id)) })
			] })
		] }),
		a4("div", { class: "with-scores", children: [
			a4(
				Panel2,
				{
					app,
					id: "map",
					tag: method.layer === "routing" ? "attention is routing, not importance" : "gradient of the class's score",
					title: method.title,
					map: making ? null : map2,
					missing: making ? "Being computed…" : error,
					code: `map = report.arrays.get("map/${method.id}/${wanted ?? 0}")`,
					caption: method.text
				}
			),
			a4(Scores, { app, method: method.id, other: method.per_class && cls !== manifest.answer[0]?.class })
		] })
	] });
}
function known2(app, { id }) {
	const { answer: answer4, maps, outcome: outcome2, on_demand: demand } = app.trace.value.manifest;
	if (demand) return [.../* @__PURE__ */ new Set([...outcome2.classes.flatMap(({ class: cls, share: share2 }) => share2 > 0 ? [cls] : []), ...answer4.map(({ class: cls }) => cls), app.state.cls.value])];
	return [...new Set(maps.flatMap((map2) => map2.method === id && map2.class !== null ? [map2.class] : []))];
}
function className(app, cls) {
	const { answer: answer4, model } = app.trace.value.manifest;
	return answer4.find((item) => item.class === cls)?.label ?? model.class_names?.[cls] ?? `class ${cls}`;
}
function Scores({ app, method, other }) {
	const { manifest } = app.trace.value;
	const rows = scores(manifest).filter(({ id }) => id === method || id === "random" || id === "centre");
	const said = verdict(manifest, method);
	const study = manifest.faithfulness?.study;
	const over = study?.rows.find((row) => row.method === method);
	if (!said) {
		return a4("div", { class: "scores", "data-scored": "no", children: [
			a4("h4", { children: "How far to trust it" }),
			a4("p", { class: "note", children: [
				titleOf(manifest, method),
				" was not scored on this image. Take it as an untested claim."
			] })
		] });
	}
	return a4("div", { class: "scores", "data-scored": "yes", children: [
		a4("h4", { children: "How far to trust it" }),
		a4("table", { class: "plain", children: [
			a4("thead", { children: a4("tr", { children: [
				a4("th", { scope: "col", children: "order" }),
				a4("th", { scope: "col", children: "hide ↓" }),
				a4("th", { scope: "col", children: "show ↑" })
			] }) }),
			a4("tbody", { children: rows.map(({ id, title, deletion, insertion }) => a4("tr", { class: id === method ? "chosen" : "", "data-method": id, children: [
				a4("th", { scope: "row", children: title }),
				a4("td", { class: "number", "data-deletion": deletion, children: deletion.toFixed(3) }),
				a4("td", { class: "number", "data-insertion": insertion, children: insertion.toFixed(3) })
			] }, id)) })
		] }),
		a4("p", { class: "note", children: [
			"Areas under the answer's probability while its brightest pixels are hidden first (lower is better) or shown first (higher is better). ",
			sentence2(said.words),
			over && study ? ` Over ${study.images} images it ${over.beats_random ? "beats random" : "does not beat random"}.` : ""
		] }),
		other && a4("p", { class: "note", children: a4("b", { children: [
			"Scored for “",
			manifest.answer[0]?.label,
			"” only, not for the class shown."
		] }) }),
		a4("button", { type: "button", class: "link", onClick: () => {
			app.state.view.value = "audit";
		}, children: "See the curves" })
	] });
}
var sentence2 = (words) => `It does ${words}.`;

// src/views/reach-unfold.tsx
var PACE = 700;
function Unfold({ app, trace, block, token, found, fresh }) {
	const many = (found?.support.stages.length ?? 0) + 2;
	const [open, setOpen] = d2(99);
	const [playing, setPlaying] = d2(false);
	const shown = Math.min(open, many);
	A2(() => {
		if (!playing) return void 0;
		const timer = setTimeout(() => {
			if (shown >= many) setPlaying(false);
			else setOpen(shown + 1);
		}, PACE);
		return () => clearTimeout(timer);
	}, [playing, shown, many]);
	const first = T2(true);
	A2(() => {
		if (first.current) {
			first.current = false;
			return;
		}
		if (!app.reduced) {
			setOpen(1);
			setPlaying(true);
		}
	}, [block, token]);
	const step3 = (to) => () => {
		setPlaying(false);
		setOpen(Math.max(1, Math.min(many, to)));
	};
	const { stages: stages2 } = found?.support ?? { stages: [] };
	return a4(
		Figure,
		{
			app,
			id: "unfold",
			title: "Unfold it, stage by stage",
			caption: "Bright tokens gave more, by rollout; dark ones could not be seen at all. Click a token of the first picture, or use the arrow keys on it, to choose another.",
			table: () => ({
				columns: ["stage", "grid", "tokens that can reach it", "share of the grid"],
				rows: stages2.map((stage) => [stage.stage + 1, times(stage.spatial), stage.count, stage.count / stage.enters.length]),
				data: (row) => ({ "data-stage": stages2[row].stage, "data-count": stages2[row].count })
			}),
			python: () => `${prelude(app)}
from vitrail.explain import rollout_stages
maps = rollout_stages(trace, ${block}, ${placeText(app)})  # one a stage, as its blocks begin`,
			children: [
				a4("ol", { class: "unfold", "data-fresh": fresh, "data-open": shown, children: [
					a4("li", { children: a4(QueryGrid, { app, trace, block, token }) }),
					stages2.map((stage, i4) => a4("li", { class: shown > i4 + 1 ? "" : "folded", "data-unfolded": stage.stage, "data-count": stage.count, children: [
						a4(StageTokens, { trace, at: i4, found }),
						a4("p", { children: [
							a4("b", { children: plural(stage.count, "token") }),
							" ",
							a4("span", { class: "note", children: [
								"of ",
								times(stage.spatial),
								", as they enter stage ",
								stage.stage + 1
							] })
						] })
					] }, stage.stage)),
					found && a4("li", { class: shown >= many ? "" : "folded", "data-unfolded": "pixels", children: [
						a4(StageTokens, { trace, at: -1, found }),
						a4("p", { children: [
							a4("b", { children: share(found.support.share) }),
							" ",
							a4("span", { class: "note", children: "of the pixels" })
						] })
					] })
				] }),
				a4("div", { class: "stepper", role: "group", "aria-label": "Unfold", children: [
					a4("button", { type: "button", onClick: step3(shown - 1), disabled: shown <= 1, "data-unfold": "back", children: "Fold" }),
					a4("button", { type: "button", onClick: step3(shown + 1), disabled: shown >= many, "data-unfold": "next", children: "Unfold one" }),
					a4("button", { type: "button", onClick: () => {
						if (app.reduced) setOpen(many);
						else {
							setOpen(1);
							setPlaying(true);
						}
					}, "data-unfold": "play", children: app.reduced ? "Unfold all" : "Play" })
				] })
			]
		}
	);
}
function QueryGrid({ app, trace, block, token }) {
	const { photo: { input }, blocks } = trace.manifest;
	const { prefix, spatial, stride } = blocks[block];
	const { value: image } = useLoaded(() => trace.image("shown"), [trace]);
	const [y5, x3] = [Math.floor((token - prefix) / spatial[1]), (token - prefix) % spatial[1]];
	const ref = usePaint((canvas2, width) => {
		const height = width * input[0] / input[1];
		const unit2 = [stride[0] / input[0] * height, stride[1] / input[1] * width];
		const context = fit2(canvas2, width, height);
		if (image) context.drawImage(image, 0, 0, width, height);
		context.fillStyle = "rgb(12 10 18 / .4)";
		context.fillRect(0, 0, width, height);
		const lines3 = [
			...Array.from({ length: spatial[0] - 1 }, (_4, i4) => [i4 + 1, 0, i4 + 1, spatial[1]]),
			...Array.from({ length: spatial[1] - 1 }, (_4, i4) => [0, i4 + 1, spatial[0], i4 + 1])
		];
		if (Math.min(...unit2) >= 4) strokeEdges(context, lines3, unit2, "rgb(255 255 255 / .4)", 1, [], 0);
		if (token < prefix) return;
		if (image) {
			const [sy, sx] = [image.height / input[0], image.width / input[1]];
			context.drawImage(image, x3 * stride[1] * sx, y5 * stride[0] * sy, stride[1] * sx, stride[0] * sy, x3 * unit2[1], y5 * unit2[0], unit2[1], unit2[0]);
		}
		strokeEdges(context, outline(y5, x3), unit2, MARK, 3);
	}, [image, block, token, trace]);
	const choose = (v4, h5) => {
		app.state.token.value = prefix + Math.min(spatial[0] - 1, Math.max(0, v4)) * spatial[1] + Math.min(spatial[1] - 1, Math.max(0, h5));
	};
	const onKey = (event) => {
		const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
		if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
		event.preventDefault();
		event.stopPropagation();
		if (token < prefix) choose(0, 0);
		else choose(y5 + move[0], x3 + move[1]);
	};
	const onClick = (event) => {
		const box = event.currentTarget.getBoundingClientRect();
		choose(Math.floor((event.clientY - box.top) / box.height * (input[0] / stride[0])), Math.floor((event.clientX - box.left) / box.width * (input[1] / stride[1])));
	};
	const said = token < prefix ? `prefix token ${token + 1}` : `row ${y5 + 1} of ${spatial[0]}, column ${x3 + 1} of ${spatial[1]}`;
	return a4($, { children: [
		a4("div", { children: a4("canvas", { ref, tabIndex: 0, role: "application", "aria-roledescription": "grid of tokens", "aria-label": `Query: ${said}. Arrow keys choose another.`, "data-query-token": token, onKeyDown: onKey, onClick }) }),
		a4("p", { children: [
			a4("b", { children: "1 token" }),
			" ",
			a4("span", { class: "note", children: said })
		] })
	] });
}
function StageTokens({ trace, at, found }) {
	const { photo: { input } } = trace.manifest;
	const { value: image } = useLoaded(() => trace.image("shown"), [trace]);
	const ref = usePaint((canvas2, width) => {
		const height = width * input[0] / input[1];
		const context = fit2(canvas2, width, height);
		if (image) context.drawImage(image, 0, 0, width, height);
		const stages2 = found.support.stages;
		const { spatial, stride, enters } = stages2[at < 0 ? stages2.length - 1 : at];
		const flags = at < 0 ? found.support.pixels : enters;
		const [rows, columns] = at < 0 ? [input[0], input[1]] : spatial;
		const area2 = at < 0 ? [0, 0, width, height] : [0, 0, stride[1] * columns / input[1] * width, stride[0] * rows / input[0] * height];
		const row = at < 0 ? null : found.rows?.find(({ stage }) => stage === stages2[at].stage) ?? null;
		if (row) drawHeat(context, row, area2, { alpha: 0.75, hidden: (cell2) => !flags[cell2] });
		darken(context, { height: rows, width: columns }, (cell2) => flags[cell2] > 0, area2);
	}, [image, at, found, trace]);
	return a4("div", { children: a4("canvas", { ref, "aria-hidden": "true" }) });
}

// src/views/reach.tsx
function Reach({ app }) {
	const trace = app.trace.value;
	const { blocks, stages: stages2, model: { caveat } } = trace.manifest;
	const [block, token] = [app.state.block.value, app.state.token.value];
	const facts = blocks[block];
	const { value: value2, error } = useLoaded(async () => ({ block, token, found: await theory(trace, block, token) }), [trace, block, token]);
	const found = value2 && value2.block === block && value2.token === token ? value2.found : null;
	return a4("div", { class: "reach", children: [
		a4("section", { class: "part", children: [
			a4("div", { class: "bar", children: [
				a4("p", { class: "lead", children: [
					a4("b", { children: tokenWords(facts, token) }),
					" of the ",
					times(facts.spatial),
					" tokens after ",
					blockName(facts),
					": which pixels can it know of?"
				] }),
				stages2.length > 1 && a4(
					Switch,
					{
						label: "Look from the end of",
						value: blocks[block] === blocks[lastOf2(trace, facts.stage)] ? String(facts.stage) : "",
						choices: stages2.map((_4, stage) => ({ id: String(stage), label: `Stage ${stage + 1}` })),
						onChange: (stage) => chooseBlock(app, lastOf2(trace, Number(stage)))
					}
				)
			] }),
			error && a4("p", { class: "note", children: error }),
			caveat && a4("p", { class: "note", "data-caveat": true, children: [
				a4("b", { children: caveat }),
				" What it could see and where it fetched from are such maps; which pixels move it is not."
			] }),
			a4(Unfold, { app, trace, block, token, found: value2?.found ?? null, fresh: found !== null })
		] }),
		a4("div", { class: "columns three", children: [
			a4(Could, { app, trace, found }),
			a4(Fetched, { app, trace, block, token }),
			a4(Moved, { app, trace, block, token })
		] }),
		isPending(trace.manifest, "methods") ? a4(Pending, { what: "Maps of the answer are" }) : trace.manifest.methods.length > 0 && a4(MethodMap, { app })
	] });
}
var reach = { id: "reach", title: "Reach", Component: Reach };
var lastOf2 = (trace, stage) => Math.max(...trace.manifest.stages[stage].blocks);
function Could({ app, trace, found }) {
	const { photo: { input } } = trace.manifest;
	const facts = trace.manifest.blocks[app.state.block.value];
	const map2 = found && { height: input[0], width: input[1], values: Float32Array.from(found.support.pixels) };
	const box = found?.support.box;
	return a4(
		Panel2,
		{
			app,
			id: "could",
			tag: "theory",
			title: "What it could see",
			map: map2,
			mask: true,
			code: `from vitrail.analysis import reach
pixels = reach(model, (${input.join(", ")}), ${facts.stage}, ${facts.block}, ${placeText(app)})  # True where a pixel can influence the token`,
			caption: box ? a4("span", { "data-box": box.join(" "), "data-share": found?.support.share, children: [
				box[2] - box[0],
				" × ",
				box[3] - box[1],
				" pixels, ",
				share(found?.support.share ?? 0),
				" of the image: by patterns, merges and patches alone, whatever the weights.",
				trace.manifest.model.overlap.some((n3) => n3 > 0) ? " Patches and merges overlap here; they are followed to within their overlap." : ""
			] }) : ""
		}
	);
}
function Fetched({ app, trace, block, token }) {
	const { value: map2, error } = useLoaded(() => trace.rollout(block, token), [trace, block, token]);
	const input = trace.manifest.photo.input;
	return a4(
		Panel2,
		{
			app,
			id: "rollout",
			tag: "attention",
			title: "Where it fetched from",
			map: map2,
			missing: error,
			code: `from vitrail.explain import rollout
map = rollout(trace, ${block}, ${placeText(app)})  # of the first stage's tokens; sums to one`,
			caption: map2 ? a4($, { children: [
				"Rollout: weights multiplied back through ",
				plural(block + 1, "block"),
				". Half of it lies within ",
				Math.round(halfWithin(map2, input)),
				" pixels. Attention is routing, not importance: what is fetched may be ignored."
			] }) : ""
		}
	);
}
function Moved({ app, trace, block, token }) {
	const { value: found, error } = useLoaded(() => field(trace, block, token), [trace, block, token]);
	const stage = trace.manifest.blocks[block].stage;
	const middle = trace.manifest.reach.find((reach2) => reach2.stage === stage);
	const absent = !middle ? "Not there yet: the run that computes it has not finished." : middle.erf === null ? "Not taken: of so large a picture, gradients take a minute for each token. Explore it at 1024 × 1024 pixels or less." : null;
	return a4(
		Panel2,
		{
			app,
			id: "erf",
			tag: "gradient",
			title: "Which pixels move it",
			map: found?.map ?? null,
			missing: error ?? (found ? null : absent),
			code: `map = report.arrays.get("erf/${stage}/${found ? found.place.join("/") : "0/0"}")  # height, width`,
			caption: found ? a4($, { children: [
				"Effective receptive field: how strongly a small change of each pixel changes the token. Half of it lies within ",
				Math.round(halfWithin(found.map, trace.manifest.photo.input)),
				" pixels.",
				!found.own && a4("b", { "data-middle": true, children: [
					" Shown for the middle token at the end of stage ",
					found.stage + 1,
					"; the local server computes it for any token."
				] })
			] }) : ""
		}
	);
}

// src/views/index.ts
var views = [canvas, heads, reach, merge2, cost3, audit];
var viewsOf = (manifest) => [outcome, ...views].filter(({ shown }) => !shown || shown(manifest));

// src/figures.tsx
async function mountFigure(root2, traces) {
	const wanted = root2.dataset.vitrailFigure ?? "";
	const trace = traces[Number(root2.dataset.trace ?? 0)] ?? traces[0];
	const state = makeState(parse(wanted, { ...defaults(trace), step: -1 }, [trace]));
	const block = trace.manifest.blocks[state.block.value];
	if (new URLSearchParams(wanted).has("corner")) assign(state, { token: tokenAt(block, [0.999, 0.999], trace.manifest.photo.input) });
	const shown = state.view.value === "pyramid" ? pyramid : views.find(({ id }) => id === state.view.value);
	if (!shown) throw new Error(`no view is called ${state.view.value}`);
	const said = y3("");
	const app = {
		traces: [trace],
		trace: O(() => trace),
		state,
		host: "report",
		root: root2,
		said,
		place: {},
		say: (text) => {
			said.value = text;
		},
		reduced: matchMedia("(prefers-reduced-motion: reduce)").matches
	};
	await Promise.all([trace.image("seen"), trace.image("shown"), trace.block(state.block.value)?.load()]);
	const { Component, title } = shown;
	root2.classList.add("vitrail");
	root2.replaceChildren();
	Q(
		a4($, { children: [
			!trace.manifest.model.trained && a4("p", { class: "warning", children: "Untrained weights: which token may see which is right; weights and answers mean nothing." }),
			a4("div", { "data-view": shown.id, children: a4(Boundary, { name: title, children: a4(Component, { app }) }) }),
			a4("p", { class: "away", role: "status", "aria-live": "polite", children: said })
		] }),
		root2
	);
	root2.dataset.ready = "true";
}
function mountFigures(page, sources) {
	const traces = sources.map((source) => new TraceView(source));
	const seen = new IntersectionObserver((entries) => {
		for (const { isIntersecting, target } of entries) {
			if (!isIntersecting) continue;
			seen.unobserve(target);
			const root2 = target;
			mountFigure(root2, traces).catch((error) => {
				root2.textContent = `This figure cannot be shown: ${error instanceof Error ? error.message : String(error)}`;
				reportError(error);
			});
		}
	}, { rootMargin: "400px" });
	page.querySelectorAll("[data-vitrail-figure]").forEach((element) => seen.observe(element));
	page.documentElement.dataset.ready = "true";
}

// src/ui/Bars.tsx
function Bars({ bars, chosen, onChoose, label: label2 }) {
	return a4("ol", { class: "bars", "aria-label": label2, children: bars.map(({ label: words, value: value2, id }) => a4("li", { class: id !== void 0 && id === chosen ? "chosen" : "", children: [
		onChoose && id !== void 0 ? a4("button", { type: "button", class: "name", "data-class": id, "aria-pressed": id === chosen, onClick: () => onChoose(id), children: words }) : a4("span", { class: "name", children: words }),
		a4("span", { class: "bar-back", "aria-hidden": "true", children: a4("span", { class: "bar-fill", style: { width: `${100 * Math.max(0, Math.min(1, value2))}%` } }) }),
		a4("span", { class: "number", children: share(value2) })
	] }, words)) });
}

// src/answer.tsx
function Seen({ trace }) {
	const { photo: photo3 } = trace.manifest;
	const ref = usePaint((canvas2) => {
		void trace.image("seen").then((image) => {
			[canvas2.width, canvas2.height] = [image.width, image.height];
			canvas2.getContext("2d")?.drawImage(image, 0, 0);
		});
	}, [trace]);
	return a4("figure", { class: "seen", children: [
		a4("div", { children: a4("canvas", { ref, role: "img", "aria-label": `The photo as the model sees it, ${times(photo3.input)} pixels` }) }),
		a4("figcaption", { children: [
			"all the model sees: ",
			times(photo3.input),
			" pixels"
		] })
	] });
}
function Answer({ app }) {
	const trace = app.trace.value;
	const { answer: answer4, model, outcome: outcome2, at_trained_size: trained } = trace.manifest;
	const parts = outcome2.classes.map(({ label: label2, share: value2, class: id }) => ({ label: label2, value: value2, id })).sort((a5, b4) => b4.value - a5.value).slice(0, 6);
	const bars = answer4.map(({ label: label2, probability, class: id }) => ({ label: label2, value: probability, id }));
	return a4("section", { class: "card answer", "aria-labelledby": "vitrail-answer", children: [
		a4("h2", { id: "vitrail-answer", children: "What it answers" }),
		a4(Seen, { trace }),
		a4("div", { children: [
			answer4.length > 0 && a4(
				Bars,
				{
					bars,
					label: "Most probable classes",
					chosen: app.state.cls.value,
					onChoose: (id) => {
						app.state.cls.value = id;
					}
				}
			),
			parts.length > 0 && a4(Bars, { bars: parts, label: "Shares of the pixels by class", chosen: app.state.cls.value, onChoose: (id) => {
				app.state.cls.value = id;
			} }),
			a4("p", { class: "note", children: parts.length > 0 ? `A class for every pixel, of ${plural(model.classes, "class")}: what each covers. Choose one to see what supports it.` : answer4.length > 0 ? `The ${answer4.length} most probable of ${plural(model.classes, "class")}. Choose one to see what supports it.` : "This model has no classifier: it answers with features only." }),
			trained && a4("p", { class: "note trained", children: `The weights are for ${times(trained.size)} pixels; there the answer is ${trained.answer[0].label}, ${share(trained.answer[0].probability)}.` })
		] })
	] });
}

// src/provenance.tsx
function Provenance({ app }) {
	const { model, photo: photo3, blocks, versions } = app.trace.value.manifest;
	const worst = Math.max(...blocks.map((block) => block.error));
	const facts = [
		["model", `${model.name}, ${count(model.parameters)} parameters`],
		["weights", `${model.weights} (${model.trained ? "trained" : "untrained"})`],
		["SHA-256 of the weights", model.sha256, "hash"],
		...model.adapted ? [["taken over from", `${model.adapted.from}; its own answer differs by at most ${model.adapted.difference.toExponential(1)}`]] : [],
		["photo", `${photo3.name}, ${times(photo3.original)} pixels (height × width)`],
		["made ready by", model.transform.join("; ")],
		["software", versions],
		["check", `these weights times the values give each block's own output to within ${worst.toExponential(1)}`],
		["precision", "weights are stored in 8 bits as square roots; each is right to within 0.004"]
	];
	return a4("section", { class: "card provenance", "aria-labelledby": "vitrail-facts", "data-provenance": true, children: [
		a4("h2", { id: "vitrail-facts", children: "What this was computed from" }),
		a4("dl", { class: "facts wide", children: facts.map(([name2, value2, look]) => [a4("dt", { children: name2 }, name2), a4("dd", { class: look, children: value2 }, `${name2}=`)]) }),
		a4("p", { class: "note", children: "Attention says where information is fetched from. It does not say what the answer depends on: a token can be looked at and ignored." }),
		a4(Code, { app, code: prelude(app) })
	] });
}

// src/shell.tsx
function Header({ app }) {
	const { model, photo: photo3 } = app.trace.value.manifest;
	return a4("header", { class: "top", children: [
		a4("p", { class: "brand", children: [
			a4("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", children: [
				a4("path", { class: "p1", d: "M2 11V9a7 7 0 0 1 9-7v9z" }),
				a4("path", { class: "p2", d: "M13 2a7 7 0 0 1 9 7v2h-9z" }),
				a4("path", { class: "p3", d: "M2 13h9v9H2z" }),
				a4("path", { class: "p4", d: "M13 13h9v9h-9z" })
			] }),
			"Vitrail"
		] }),
		a4("h1", { children: [
			model.name,
			" looks at ",
			photo3.name
		] }),
		app.traces.length > 1 && a4(Sides, { app }),
		!model.trained && a4("p", { class: "warning", "data-untrained": true, children: "Untrained weights: this model has not learned anything yet. Which token may see which is right below; what the model answers and what it attends to mean nothing." })
	] });
}
function Trouble({ app }) {
	const said = app.trace.value.source.trouble?.value;
	return said ? a4("p", { class: "warning trouble", role: "alert", "data-trouble": true, children: said }) : null;
}
function Sides({ app }) {
	const name2 = (side) => {
		const { model, photo: photo3 } = app.traces[side].manifest;
		return a4("span", { children: [
			a4("b", { children: "AB"[side] }),
			" ",
			model.name,
			", ",
			photo3.input.join(" × "),
			", ",
			photo3.name
		] });
	};
	return a4("div", { class: "sides", children: a4(
		Switch,
		{
			label: "Which of the two is shown",
			value: app.state.side.value,
			onChange: (side) => chooseSide(app, side),
			choices: [{ id: "A", label: name2(0) }, { id: "B", label: name2(1) }]
		}
	) });
}
function Tabs({ app }) {
	const list = T2(null);
	const views2 = viewsOf(app.trace.value.manifest);
	const shown = views2.find(({ id }) => id === app.state.view.value) ?? views2[0];
	if (!shown) return null;
	const move = (event) => {
		const step3 = { ArrowRight: 1, ArrowLeft: -1, Home: -views2.length, End: views2.length }[event.key];
		if (step3 === void 0) return;
		event.preventDefault();
		const at = views2.indexOf(shown);
		const next = Math.abs(step3) > 1 ? step3 < 0 ? 0 : views2.length - 1 : (at + step3 + views2.length) % views2.length;
		app.state.view.value = views2[next].id;
		list.current?.querySelectorAll("[role=tab]")[next]?.focus();
	};
	const { Component } = shown;
	return a4("section", { class: "views", "aria-label": "Views", children: [
		a4("div", { class: "tabs", role: "tablist", "aria-label": "Views", ref: list, onKeyDown: move, children: views2.map(({ id, title }) => a4(
			"button",
			{
				type: "button",
				role: "tab",
				id: `tab-${id}`,
				"data-tab": id,
				"aria-selected": id === shown.id,
				"aria-controls": `view-${id}`,
				tabIndex: id === shown.id ? 0 : -1,
				onClick: () => {
					app.state.view.value = id;
				},
				children: title
			},
			id
		)) }),
		a4("div", { class: "view", role: "tabpanel", id: `view-${shown.id}`, "data-view": shown.id, "aria-labelledby": `tab-${shown.id}`, tabIndex: -1, children: a4(Boundary, { name: shown.title, children: a4(Component, { app }) }, `${shown.id} ${app.state.side.value}`) })
	] });
}
function Shell({ app }) {
	const Pyramid2 = pyramid?.Component;
	const skip = (event) => {
		event.preventDefault();
		app.root.querySelector("[role=tabpanel]")?.focus();
	};
	return a4($, { children: [
		a4("a", { class: "skip", href: `#view-${app.state.view.value}`, onClick: skip, children: "Skip to the picture" }),
		a4(Header, { app }),
		a4(Trouble, { app }),
		a4("main", { children: [
			a4("div", { class: "overview", children: [
				a4(Answer, { app }),
				Pyramid2 && a4("section", { class: "card", "data-view": "pyramid", "aria-label": pyramid?.title, children: a4(Boundary, { name: "The pyramid", children: a4(Pyramid2, { app }) }, app.state.side.value) })
			] }),
			Tour && a4(Boundary, { name: "The tour", children: a4(Tour, { app }) }),
			a4(Tabs, { app }),
			a4(Provenance, { app })
		] }),
		a4("p", { class: "away", role: "status", "aria-live": "polite", "data-live": true, children: app.said.value })
	] });
}

// src/sources/notebook.ts
var AT_ONCE2 = 4;
var PATIENCE = 15e3;
var GONE = "The kernel that computed this is gone. What was already shown stays; run the cell again for the rest.";
var SILENT = "The kernel has not answered for a while: it runs another cell, or is gone. What was already shown stays.";
function notebookSources(model) {
	return model.get("manifests").map((manifest, side) => notebookSource(model, manifest, side));
}
function notebookSource(model, manifest, side) {
	const view = Math.random().toString(36).slice(2);
	const waiting = [];
	const pending = /* @__PURE__ */ new Map();
	const trouble = y3(null);
	let count2 = 0;
	let gone = false;
	let clock = 0;
	const heard = () => {
		clearTimeout(clock);
		if (gone) return;
		trouble.value = null;
		if (pending.size) clock = window.setTimeout(() => {
			trouble.value = SILENT;
		}, PATIENCE);
	};
	const fail = (why) => {
		clearTimeout(clock);
		for (const mine of [...waiting.splice(0), ...pending.values()]) mine.fail(new Error(why));
		pending.clear();
	};
	const end = () => {
		gone = true;
		trouble.value = GONE;
		fail(GONE);
	};
	const next = () => {
		while (pending.size < AT_ONCE2) {
			const mine = waiting.shift();
			if (!mine) return;
			pending.set(mine.id, mine);
			if (pending.size === 1) heard();
			model.send({ id: mine.id, kind: "array", side, name: mine.name });
		}
	};
	const listen2 = (answer4, buffers) => {
		const mine = pending.get(answer4.id);
		if (!mine) return;
		heard();
		if (answer4.error === void 0) {
			const { buffer, byteOffset, byteLength } = buffers[0];
			if (mine.left < 0) mine.left = answer4.parts;
			mine.parts[answer4.part] = new Uint8Array(buffer, byteOffset, byteLength);
			if (--mine.left > 0) return;
		}
		pending.delete(answer4.id);
		if (!pending.size) clearTimeout(clock);
		next();
		if (answer4.error !== void 0) {
			mine.fail(new Error(answer4.error));
			return;
		}
		try {
			mine.done(toArray(answer4.dtype, answer4.shape, joined2(mine.parts)));
		} catch (error) {
			mine.fail(error);
		}
	};
	model.on("msg:custom", listen2);
	model.on("comm_live_update", end);
	const request = (name2, signal) => new Promise((done, fail2) => {
		if (gone) {
			fail2(new Error(GONE));
			return;
		}
		const mine = { id: `${view}-${count2++}`, name: name2, parts: [], left: -1, done, fail: fail2 };
		signal?.addEventListener("abort", () => {
			const place = waiting.indexOf(mine);
			if (place < 0) return;
			waiting.splice(place, 1);
			fail2(signal.reason);
		});
		waiting.push(mine);
		next();
	});
	const kept = new Kept(request);
	return {
		manifest,
		trouble,
		has: (name2) => name2 in manifest.arrays,
		array: (name2, signal) => kept.array(name2, signal),
		dispose: () => {
			model.off("msg:custom", listen2);
			model.off("comm_live_update", end);
			fail("the page was closed");
		}
	};
}
function joined2(parts) {
	if (parts.length === 1) return parts[0];
	const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
	let at = 0;
	for (const part of parts) {
		whole.set(part, at);
		at += part.length;
	}
	return whole;
}
function linkSelection(app, model) {
	let [sent, timer] = [{}, 0];
	const follow = () => {
		const given2 = model.get("selection");
		const known3 = Object.keys(given2).filter((field2) => field2 in app.state);
		const changed = Object.fromEntries(known3.filter((field2) => given2[field2] !== sent[field2]).map((field2) => [field2, given2[field2]]));
		sent = { ...sent, ...given2 };
		r3(() => {
			const { side, block, ...rest } = changed;
			if (side !== void 0 && app.traces.length > 1) assign(app.state, selectSide(app, side));
			if (block !== void 0 && block !== app.state.block.value) assign(app.state, selectBlock(app, block));
			assign(app.state, rest);
			if (rest.step === void 0 && (block !== void 0 || rest.token !== void 0 || rest.view !== void 0)) app.state.step.value = -1;
		});
	};
	follow();
	model.on("change:selection", follow);
	const keep = x2(() => {
		const now = snapshot(app.state);
		clearTimeout(timer);
		timer = window.setTimeout(() => {
			sent = now;
			model.set("selection", now);
			model.save_changes();
		}, 150);
	});
	return () => {
		keep();
		clearTimeout(timer);
		model.off("change:selection", follow);
	};
}

// src/sources/report.ts
function fromBase64(text) {
	const native = Uint8Array;
	if (native.fromBase64) return native.fromBase64(text);
	const letters = atob(text);
	const bytes = new Uint8Array(letters.length);
	for (let i4 = 0; i4 < letters.length; i4++) bytes[i4] = letters.charCodeAt(i4);
	return bytes;
}
async function inflate(packed) {
	const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
	return new Uint8Array(await new Response(stream).arrayBuffer());
}
function reportSources(page) {
	const manifests = [];
	for (let i4 = 0; ; i4++) {
		const element = page.getElementById(`manifest:${i4}`);
		if (!element) break;
		manifests.push(JSON.parse(element.textContent ?? ""));
	}
	const places = /* @__PURE__ */ new Map();
	const key = (manifest, name2) => {
		const { dtype, shape: shape2, sha256 } = manifest.arrays[name2];
		return `${dtype} ${shape2.join()} ${sha256}`;
	};
	manifests.forEach((manifest, i4) => Object.keys(manifest.arrays).forEach((name2) => {
		const element = page.getElementById(`array:${i4}/${name2}`);
		if (element) places.set(key(manifest, name2), element);
	}));
	return manifests.map((manifest) => {
		const kept = new Kept(async (name2) => {
			const facts = manifest.arrays[name2];
			const element = facts && places.get(key(manifest, name2));
			if (!element) throw new Missing(name2);
			return toArray(facts.dtype, facts.shape, await inflate(fromBase64(element.textContent ?? "")));
		});
		return { manifest, has: (name2) => name2 in manifest.arrays, array: (name2) => kept.array(name2) };
	});
}

// src/sources/server.ts
var inWords = ({ given: given2, allowed, fix }) => `${given2}. Allowed: ${allowed}. Fix: ${fix}.`;
var Server = class {
	constructor(base) {
		this.base = base;
	}
	base;
	async request(path, options = {}) {
		let answer4;
		try {
			answer4 = await fetch(`${this.base}/${path}`, options);
		} catch (error) {
			if (options.signal?.aborted) throw error;
			throw new Error("The server does not answer. Was it stopped? Start it again with vitrail explore --serve.");
		}
		if (answer4.ok) return answer4;
		if (answer4.status === 403) throw new Error("The server was started anew: open the link that vitrail explore --serve printed.");
		const said = await answer4.text();
		let problem = {};
		try {
			problem = JSON.parse(said);
		} catch {
		}
		throw new Error(problem.fix ? inWords(problem) : said || `${answer4.status} ${answer4.statusText}`);
	}
	async json(path, options) {
		return await (await this.request(path, options)).json();
	}
	traces() {
		return this.json("traces");
	}
	catalog() {
		return this.json("models");
	}
	jobs() {
		return this.json("jobs");
	}
	job(id) {
		return this.json(`jobs/${id}`);
	}
	cancel(id) {
		return this.json(`jobs/${id}`, { method: "DELETE" });
	}
	run(wish, photo3) {
		const words = Object.entries(wish).filter(([, value2]) => value2);
		return this.json(`run?${new URLSearchParams(words)}`, { method: "POST", body: photo3 });
	}
	manifest(id) {
		return this.json(`traces/${id}`);
	}
	async source(id) {
		const manifest = await this.manifest(id);
		const kept = new Kept(async (name2, signal) => {
			const answer4 = await this.request(`traces/${id}/arrays/${name2}`, { signal });
			const shape2 = (answer4.headers.get("X-Shape") ?? "").split(",").filter(Boolean).map(Number);
			return toArray(answer4.headers.get("X-Dtype"), shape2, new Uint8Array(await answer4.arrayBuffer()));
		});
		return { manifest, has: (name2) => name2 in manifest.arrays, array: (name2, signal) => kept.array(name2, signal) };
	}
};

// src/host.ts
var Host = class {
	constructor(server, page, mount2) {
		this.server = server;
		this.page = page;
		this.mount = mount2;
	}
	server;
	page;
	mount;
	catalog = y3(null);
	traces = y3([]);
	shown = y3([]);
	// one trace, or two to compare
	job = y3(null);
	problem = y3(null);
	photo = y3(null);
	mounted = null;
	async start() {
		this.catalog.value = await this.server.catalog();
		const [waiting] = await this.server.jobs();
		this.traces.value = await this.server.traces();
		const linked = new URLSearchParams(location.hash.slice(1));
		const known3 = (name2) => this.traces.value.find(({ id }) => id === linked.get(name2))?.id;
		const first = known3("trace") ?? this.traces.value[0]?.id;
		const against = known3("against");
		if (first) await this.show(against ? [first, against] : [first]);
		if (waiting) void this.follow(waiting);
	}
	// Draw the page anew from one trace or two; block and token stay, for they are in the address.
	async show(ids) {
		try {
			const sources = await Promise.all(ids.map((id) => this.server.source(id)));
			this.mounted?.stop();
			this.shown.value = ids;
			const place = { trace: ids[0], ...ids[1] ? { against: ids[1] } : {} };
			this.mounted = await this.mount({ sources, host: "server", root: this.page, place });
			this.problem.value = null;
		} catch (error) {
			this.fail(error);
		}
	}
	async run(wish) {
		const photo3 = this.photo.value;
		const again = photo3 ? {} : { photo: this.shown.value[0] };
		this.problem.value = null;
		try {
			await this.follow(await this.server.run({ ...wish, ...again, name: photo3?.name }, photo3));
		} catch (error) {
			this.fail(error);
		}
	}
	async cancel() {
		if (!this.job.value) return;
		try {
			this.job.value = await this.server.cancel(this.job.value.id);
		} catch (error) {
			this.fail(error);
		}
	}
	async follow(job) {
		this.job.value = job;
		try {
			let revision = 0;
			while (job.state === "queued" || job.state === "running") {
				await new Promise((done) => setTimeout(done, 300));
				job = await this.server.job(job.id);
				this.job.value = job;
				if (job.trace && job.revision > revision) await this.advance(job.trace, revision === 0);
				revision = job.revision;
			}
			this.job.value = null;
			if (job.error) this.problem.value = inWords(job.error);
		} catch (error) {
			this.fail(error);
		}
	}
	// Show a trace as soon as it can be drawn; later, put what has come since into the page as it stands.
	async advance(id, first) {
		if (first) {
			this.traces.value = await this.server.traces();
			this.photo.value = null;
			if (this.shown.value[0] !== id) {
				await this.show([id, ...this.shown.value.slice(1)]);
				return;
			}
		}
		const manifest = await this.server.manifest(id);
		this.shown.value.forEach((shown, side) => {
			if (shown === id) this.mounted?.update(side, manifest);
		});
	}
	fail(error) {
		this.job.value = null;
		this.problem.value = error instanceof Error ? error.message : String(error);
	}
};

// src/ui/RunPanel.tsx
var STEPS = {
	model: "Loading the model",
	photo: "Opening the photo",
	forward: "Running the model",
	figures: "Computing maps and figures"
};
var named2 = ({ name: name2, model, size }) => `${name2}: ${model}, ${size.join(" × ")}`;
function RunPanel({ host }) {
	const catalog = host.catalog.value;
	const [model, setModel] = d2("");
	const [weights, setWeights] = d2("");
	const [size, setSize] = d2("");
	const chosen = catalog?.models.find(({ name: name2 }) => name2 === model) ?? catalog?.models[0];
	const photo3 = host.photo.value;
	const busy = host.job.value !== null;
	const run = (event) => {
		event.preventDefault();
		void host.run({ model: chosen?.name, weights: chosen?.weights.includes(weights) ? weights : void 0, size: size.trim() });
	};
	return a4("section", { class: "run card", "aria-label": "Run a model", "data-run": true, children: [
		a4("form", { onSubmit: run, children: [
			a4("label", { children: [
				"Photo",
				a4(
					"input",
					{
						type: "file",
						accept: "image/*",
						"data-field": "photo",
						onChange: (event) => {
							host.photo.value = event.currentTarget.files?.[0] ?? null;
						}
					}
				)
			] }),
			a4("label", { children: [
				"Model",
				a4("select", { "data-field": "model", value: chosen?.name, onChange: (event) => setModel(event.currentTarget.value), children: catalog?.models.map(({ name: name2 }) => a4("option", { value: name2, children: name2 }, name2)) })
			] }),
			a4("label", { children: [
				"Weights",
				a4("select", { "data-field": "weights", value: weights, onChange: (event) => setWeights(event.currentTarget.value), children: chosen?.weights.map((name2) => a4("option", { value: name2, children: name2 }, name2)) })
			] }),
			a4("label", { children: [
				"Size",
				a4(
					"input",
					{
						"data-field": "size",
						value: size,
						placeholder: "as the model likes",
						inputMode: "text",
						pattern: "[0-9]+(x[0-9]+)?",
						title: "Pixels, e.g. 224 or 192x256",
						onInput: (event) => setSize(event.currentTarget.value)
					}
				)
			] }),
			a4("button", { type: "submit", class: "strong", disabled: busy || !photo3 && !host.shown.value.length, children: "Run" })
		] }),
		a4("p", { class: "note", children: [
			photo3 ? `Ready: ${photo3.name}.` : host.shown.value.length ? "Without another photo, the one shown is run again." : "",
			" Drop or paste a photo anywhere on the page. It stays on this machine."
		] }),
		host.job.value && a4(Progress, { host, job: host.job.value }),
		host.problem.value && a4("p", { class: "warning", role: "alert", children: host.problem.value }),
		host.traces.value.length > 1 && a4(Shown, { host })
	] });
}
function Progress({ host, job }) {
	const { step: step3, stage, stages: stages2, block, blocks, share: share2 } = job.progress;
	const words = job.state === "queued" ? `Waiting; ${job.ahead} before it` : `${STEPS[step3]}${step3 === "forward" ? `, stage ${stage} of ${stages2}, block ${block} of ${blocks}` : ""}`;
	return a4("div", { class: "progress", role: "group", "aria-label": "The run", children: [
		a4("progress", { max: 1, value: job.state === "queued" ? void 0 : share2, "aria-label": words }),
		a4("span", { "aria-live": "polite", children: [
			words,
			" …"
		] }),
		a4("button", { type: "button", "data-cancel": true, onClick: () => void host.cancel(), children: "Cancel" })
	] });
}
function Shown({ host }) {
	const [first, second2] = host.shown.value;
	const options = host.traces.value.map((trace) => a4("option", { value: trace.id, children: named2(trace) }, trace.id));
	return a4("div", { class: "choose", children: [
		a4("label", { children: [
			"Shown",
			a4("select", { "data-field": "trace", value: first, onChange: (event) => void host.show([event.currentTarget.value, ...second2 ? [second2] : []]), children: options })
		] }),
		a4("label", { children: [
			"Compared with",
			a4("select", { "data-field": "against", value: second2 ?? "", onChange: (event) => void host.show([first, event.currentTarget.value].filter(Boolean)), children: [
				a4("option", { value: "", children: "nothing" }),
				options
			] })
		] })
	] });
}

// src/hosting.tsx
async function startServer(root2, mount2) {
	const [panel, page] = [document.createElement("div"), document.createElement("div")];
	root2.classList.add("vitrail");
	root2.replaceChildren(panel, page);
	const host = new Host(new Server(root2.dataset.server || "/api"), page, mount2);
	Q(a4(RunPanel, { host }), panel);
	listenForPhotos(host);
	try {
		await host.start();
	} catch (error) {
		host.problem.value = error instanceof Error ? error.message : String(error);
	}
	document.documentElement.dataset.ready = "true";
}
function listenForPhotos(host) {
	const take = (event, files) => {
		const photo3 = [...files ?? []].find(({ type }) => type.startsWith("image/"));
		if (!photo3) return;
		event.preventDefault();
		host.photo.value = photo3;
	};
	addEventListener("dragover", (event) => {
		if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
	});
	addEventListener("drop", (event) => take(event, event.dataTransfer?.files));
	addEventListener("paste", (event) => take(event, event.clipboardData?.files));
}

// src/main.tsx
async function mount({ sources, host, root: root2, place = {} }) {
	const shown = y3(sources.map((source) => new TraceView(source)));
	const traces = shown.value;
	const first = defaults(traces[0]);
	const addressed = host !== "notebook";
	const hash = addressed ? location.hash : "";
	const fields = new URLSearchParams(hash.slice(1));
	const state = makeState(parse(hash, { ...first, step: fields.size ? -1 : 0 }, traces));
	const said = y3("");
	let pause = 0;
	const app = {
		get traces() {
			return shown.value;
		},
		state,
		host,
		root: root2,
		said,
		place,
		trace: O(() => shown.value[state.side.value === "B" ? 1 : 0] ?? shown.value[0]),
		// After a pause, so that a held key does not flood a screen reader.
		say: (text) => {
			clearTimeout(pause);
			pause = window.setTimeout(() => {
				said.value = text;
			}, 250);
		},
		reduced: matchMedia("(prefers-reduced-motion: reduce)").matches
	};
	await Promise.all(traces.flatMap((trace) => [trace.image("seen"), trace.image("shown"), trace.block(state.block.value)?.load()]));
	if (!root2.closest(".vitrail")) root2.classList.add("vitrail");
	root2.replaceChildren();
	Q(a4(Shell, { app }), root2);
	const unlink = addressed ? linkAddress(app) : () => void 0;
	await new Promise(requestAnimationFrame);
	root2.dataset.ready = "true";
	if (addressed) {
		performance.mark("vitrail-ready");
		document.documentElement.dataset.ready = "true";
		Object.assign(window, { vitrail: { app } });
	}
	const stop = () => {
		unlink();
		clearTimeout(pause);
		Q(null, root2);
		delete root2.dataset.ready;
	};
	const update = (side, manifest) => {
		shown.value = shown.value.map((trace, i4) => i4 === side ? new TraceView({ ...trace.source, manifest, has: (name2) => name2 in manifest.arrays }, trace) : trace);
		const { methods } = app.trace.value.manifest;
		if (!state.method.value) state.method.value = (methods.find(({ id }) => id === fields.get("method")) ?? methods[0])?.id ?? "";
	};
	return { app, stop, update };
}
async function render({ model, el, signal: ended }) {
	const sources = notebookSources(model);
	const dispose = () => sources.forEach((source) => source.dispose?.());
	const root2 = document.createElement("div");
	root2.textContent = "Waiting for the kernel, which answers when no cell runs…";
	el.append(root2);
	let end = dispose;
	const close = () => end();
	ended?.addEventListener("abort", close, { once: true });
	try {
		const { app, stop } = await mount({ sources, host: "notebook", root: root2 });
		const unlink = linkSelection(app, model);
		end = () => {
			unlink();
			stop();
			dispose();
		};
		if (ended?.aborted) close();
	} catch (error) {
		root2.textContent = `Vitrail could not show this: ${error instanceof Error ? error.message : String(error)}`;
	}
	return close;
}
var root = document.querySelector("[data-vitrail], [data-server]");
if (root && document.getElementById("manifest:0")) void mount({ sources: reportSources(document), host: "report", root });
else if (document.querySelector("[data-vitrail-figure]")) mountFigures(document, reportSources(document));
else if (root?.dataset.server !== void 0) void startServer(root, mount);
var main_default = { render };
export {
	assign,
	main_default as default,
	mount,
	snapshot
};
