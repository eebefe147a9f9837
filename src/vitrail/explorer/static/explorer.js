var n;var t;var r;var u;var i;var f;var o;var e;var l;var c;var a;var s;var h=Symbol.for("pv");var p={};
var y=[];var v=/^m(i|n|o|s|text|space)$/;var w=Array.isArray;var d=y.slice;var _=Object.assign;function g(n3){
n3&&n3.parentNode&&n3.remove()}function k(n3,t4,r4){var u4,i4,f5,o5={},e4=arguments.length;for(f5 in t4)
"key"==f5?u4=t4[f5]:"ref"==f5&&"function"!=typeof n3?i4=t4[f5]:o5[f5]=t4[f5];return e4>2&&(o5.children=
e4>3?d.call(arguments,2):r4),m(n3,o5,u4,i4,null)}function m(r4,u4,i4,f5,o5){var e4={type:r4,props:u4,key:i4,ref:f5,__k:null,__:null,__b:0,__e:null,__c:null,
constructor:h,__v:o5||++t,__i:-1,__u:0};return!o5&&n.vnode&&n.vnode(e4),e4}function $(n3){return n3.children}function x(n3,t4){this.props=n3,this.context=t4,this.__g=0}function S(n3,t4){
if(null==t4)return n3.__&&S(n3.__,n3.__i+1);for(var r4;t4<n3.__k.length;t4++)if((r4=n3.__k[t4])&&r4.
__e)return r4.__e;return"function"!=typeof n3.type||n3.props.__P?null:S(n3)}function C(t4){var r4,u4=t4.
__v,i4=u4.__e,f5=[],o5=[],e4=t4.__P;e4&&((r4=_({constructor:h},u4)).__v=u4.__v+1,n.vnode&&n.vnode(r4),
z(e4,r4,u4,t4.__n,e4.namespaceURI,32&u4.__u?[i4]:null,f5,i4||S(u4),32&u4.__u,o5),r4.__v=u4.__v,r4.__.
__k[r4.__i]=r4,E(f5,r4,o5),u4.__=u4.__e=null,r4.__e!=i4&&j(r4))}function j(n3){if((n3=n3.__)&&n3.__c&&
!n3.props.__P)return n3.__e=null,n3.__k.some(function(t4){return t4&&(n3.__e=t4.__e)}),j(n3)}function L(t4){
(8&t4.__g||(t4.__g|=8,u.push(t4),f++))&&i==n.debounceRendering||((i=n.debounceRendering)||queueMicrotask)(
H)}function H(){try{for(var n3,t4=1;u.length;)u.length>t4&&u.sort(o),n3=u.shift(),t4=u.length,8&n3.__g&&
C(n3)}finally{(f=u.length)&&(i||queueMicrotask)(H)}}function I(n3,t4,r4,u4,i4,f5,o5,e4,l4,c4,a5){var s4,
h5,v4,w5,d5,_4,g5=u4.__k||y,k4=t4.length;for(l4=q(r4,t4,g5,l4,k4),s4=0;s4<k4;s4++)null!=(v4=r4.__k[s4])&&
(h5=~v4.__i&&g5[v4.__i]||p,v4.__i=s4,_4=z(n3,v4,h5,i4,f5,o5,e4,l4,c4,a5),w5=v4.__e,(h5.ref!=v4.ref||
8&h5.__u)&&(h5.ref&&G(h5.ref,null,v4,h5),v4.ref&&a5.push(v4.ref,v4.__c||w5,v4)),d5=d5||w5,4&v4.__u?(l4=
A(v4,l4,n3,!h5.__v),h5.__e&&(h5.__e=null)):"function"==typeof v4.type&&void 0!==_4?l4=_4:w5&&(l4=w5.
nextSibling),v4.__u&=-21);return r4.__e=d5,l4}function q(n3,t4,r4,u4,i4){var f5,o5,e4,l4,c4,a5,s4,p5,
y5,v4=r4.length,d5=v4,_4=0,g5=0,k4=n3.__k=Array(i4);for(f5=0;f5<i4;f5++)null!=(o5=t4[f5])&&"boolean"!=
typeof o5&&"function"!=typeof o5?("object"!=typeof o5||o5.constructor===String?o5=k4[f5]=m(null,o5):
w(o5)?o5=k4[f5]=m($,{children:o5}):o5.constructor===h&&o5.__b?o5=k4[f5]=m(o5.type,o5.props,o5.key,o5.
ref,o5.__v):k4[f5]=o5,l4=f5+_4,o5.__=n3,o5.__b=n3.__b+1,e4=null,~(c4=o5.__i=P(o5,r4,l4,d5))&&(d5--,(e4=
r4[c4])&&(e4.__u|=2)),e4&&e4.__v?(o5.__u|=16,c4==l4-1?_4--:c4==l4+1?_4++:c4!=l4&&(c4>l4?_4--:_4++,g5=
1)):(~c4||(i4>v4?_4--:i4<v4&&_4++),"function"!=typeof o5.type&&(o5.__u|=4))):k4[f5]=null;if(g5){for(a5=
[],s4=[],f5=0;f5<i4;f5++)if((o5=k4[f5])&&16&o5.__u){for(_4=0,p5=a5.length;_4<p5;)a5[y5=_4+p5>>1]<o5.
__i?_4=y5+1:p5=y5;a5[_4]=o5.__i,s4[f5]=_4+1}for(_4=a5.length;f5--;)s4[f5]&&(s4[f5]==_4?_4--:k4[f5].__u|=
4)}if(d5)for(f5=0;f5<v4;f5++)!(e4=r4[f5])||2&e4.__u||(e4.__e==u4&&(u4=S(e4)),J(e4,e4));return u4}function A(n3,t4,r4,u4){
var i4,f5,o5,e4;if("function"==typeof n3.type){if(n3.props.__P)return t4;if(i4=n3.__k)for(f5=0;f5<i4.
length;f5++)i4[f5]&&(i4[f5].__=n3,t4=A(i4[f5],t4,r4,false));return t4}for(t4&&!t4.parentNode&&(t4=S(
n3))&&!t4.parentNode&&(t4=null),o5=n3.__e,e4=t4;e4&&8==e4.nodeType;)e4=e4.nextSibling;for(o5!=e4&&(!u4&&
r4.moveBefore&&o5.parentNode?r4.moveBefore(o5,t4):r4.insertBefore(o5,t4||null)),t4=o5;(t4=t4&&t4.nextSibling)&&
8==t4.nodeType&&!t4.data.startsWith("$s"););return t4}function P(n3,t4,r4,u4){var i4,f5=n3.key,o5=n3.type,e4=t4[r4],l4=e4&&!(2&e4.__u);if(null===e4&&null==
f5||l4&&f5==e4.key&&o5==e4.type)return r4;if(u4>(l4?1:0)){for(i4=r4-1;i4>=0;i4--)if((e4=t4[i4])&&!(2&
e4.__u)&&f5==e4.key&&o5==e4.type)return i4;for(i4=r4+1;i4<t4.length;i4++)if((e4=t4[i4])&&!(2&e4.__u)&&
f5==e4.key&&o5==e4.type)return i4}return-1}function T(n3,t4,r4){null==r4&&(r4=""),"-"==t4[0]?n3.setProperty(
t4,r4):n3[t4]=r4}function N(n3,t4,r4,u4,i4){var f5,o5;if("style"==t4)if("string"==typeof r4)n3.style.
cssText=r4;else{if("string"==typeof u4&&(n3.style.cssText=u4=""),u4)for(t4 in u4)r4&&t4 in r4||T(n3.
style,t4);if(r4)for(t4 in r4)u4&&r4[t4]==u4[t4]||T(n3.style,t4,r4[t4])}else if("o"==t4[0]&&"n"==t4[1])
"function"!=typeof r4&&(r4=null),"function"!=typeof u4&&(u4=null),(n3.__e||(n3.__e={}))[t4]=r4,r4&&u4||
(o5=a[t4]||(a[t4]=V(t4)),(n3.__a||(n3.__a={}))[t4]=c,f5=t4!=(t4=t4.replace(l,"$1")),(t4=t4.slice(2))[0]<
"a"&&(t4=t4.toLowerCase()),r4?n3.addEventListener(t4,o5,f5):n3.removeEventListener(t4,o5,f5));else{if("\
http://www.w3.org/2000/svg"==i4)t4=t4.replace(/xlink(H|:h)/,"h").replace(/sName$/,"s");else if("widt\
h"!=t4&&"height"!=t4&&"href"!=t4&&"list"!=t4&&"form"!=t4&&"tabIndex"!=t4&&"download"!=t4&&"rowSpan"!=
t4&&"colSpan"!=t4&&"role"!=t4&&"popover"!=t4&&t4 in n3)try{return void(n3[t4]=null==r4?"":r4)}catch(n4){}
if("function"==typeof r4)return;null==r4||false===r4&&"-"!=t4[4]?n3.removeAttribute(t4):n3.setAttribute(
t4,"popover"==t4&&1==r4?"":r4)}}function V(t4){return function(r4){var u4=this.__e;if(u4){if(u4=u4[t4],
null==r4[e])r4[e]=c++;else if(r4[e]<this.__a[t4])return;return u4(n.event?n.event(r4):r4)}}}function z(t4,r4,u4,i4,f5,o5,e4,l4,c4,a5){
var s4,p5,v4,d5,k4,b3,m5,M2,C3,j3,L2,H2,q2,A4,O2,P2,T4,N2,V2=r4.type;if(r4.constructor!==h)return null;
128&u4.__u&&(c4=32&u4.__u,s4=u4.__c.__z)&&(r4.__u|=c4,p5=o5=[],8==s4.nodeType?l4=B(s4,o5):o5.push(s4),
l4=o5[0]||l4),(s4=n.__b)&&s4(r4);n:if("function"==typeof V2){v4=e4.length;try{if(M2=r4.props,C3=(s4=
V2.prototype)&&s4.render,j3=(s4=V2.contextType)&&i4[s4.__c],L2=s4?j3?j3.props.value:s4.__:i4,(d5=u4.
__c)?(r4.__c=d5,2&d5.__g&&(d5.__g|=1)):(C3?r4.__c=d5=new V2(M2,L2):(r4.__c=d5=new x(M2,L2),d5.constructor=
V2,d5.render=K),j3&&j3.sub(d5),d5.state||(d5.state={}),d5.__n=i4,d5.__g|=8,d5.__h=[],d5.__k=[]),C3&&
(d5.__s||(d5.__s=d5.state),V2.getDerivedStateFromProps&&(d5.__s==d5.state&&(d5.__s=_({},d5.__s)),_(d5.
__s,V2.getDerivedStateFromProps(M2,d5.__s)))),k4=d5.props,b3=d5.state,d5.__v=r4,u4.__c){if(M2!==k4&&
C3&&!V2.getDerivedStateFromProps&&d5.componentWillReceiveProps&&d5.componentWillReceiveProps(M2,L2),
r4.__v==u4.__v&&!(8&d5.__g)||!(4&d5.__g)&&d5.shouldComponentUpdate&&false===d5.shouldComponentUpdate(
M2,d5.__s,L2)){r4.__v!=u4.__v&&(d5.props=M2,d5.state=d5.__s,d5.__g&=-9),r4.__e=u4.__e,r4.__k=u4.__k,
r4.__k.some(function(n3){n3&&(n3.__=r4)}),y.push.apply(d5.__h,d5.__k),d5.__k=[],d5.__h.length&&e4.push(
d5),l4=S(u4);break n}d5.componentWillUpdate&&d5.componentWillUpdate(M2,d5.__s,L2),C3&&d5.componentDidUpdate&&
d5.__h.push(function(){d5.componentDidUpdate(k4,b3,m5)})}else C3&&!V2.getDerivedStateFromProps&&d5.componentWillMount&&
d5.componentWillMount(),C3&&d5.componentDidMount&&d5.__h.push(d5.componentDidMount);d5.context=L2,d5.
props=M2,d5.__P=t4,d5.__g&=-5,H2=n.__r,q2=C3?25:0;do{d5.__g&=-9,H2&&H2(r4),s4=d5.render(d5.props,d5.
state=d5.__s,d5.context)}while(8&d5.__g&&++q2<25);C3&&(y.push.apply(d5.__h,d5.__k),d5.__k=[]),d5.state=
d5.__s,d5.getChildContext&&(i4=_({},i4,d5.getChildContext())),C3&&u4.__c&&d5.getSnapshotBeforeUpdate&&
(m5=d5.getSnapshotBeforeUpdate(k4,b3)),A4=s4&&s4.type===$&&null==s4.key?s4.props.children:s4,M2.__P&&
(s4=l4,f5=(t4=M2.__P).namespaceURI,c4=o5=null,u4.props&&u4.props.__P!=t4&&(u4.__k.some(function(n3){
n3&&J(n3,n3)}),u4.__k=null),l4=u4.__k?S(u4,0):null),l4=I(t4,w(A4)?A4:[A4],r4,u4,i4,f5,o5,e4,l4,c4,a5),
M2.__P&&(r4.__e=null,l4=s4),r4.__u&=-161,p5&&p5.some(g),d5.__h.length&&e4.push(d5),1&d5.__g&&(d5.__g&=
-4)}catch(t5){if(e4.length=v4,r4.__v=null,c4||o5)if(t5&&t5.then){if(r4.__u|=128|c4,o5){for(~(T4=o5.indexOf(
l4||void 0))||(T4=o5.length);(N2=o5[T4-1])&&8==N2.nodeType;)T4--;for(;T4<o5.length;T4++)if(N2=o5[T4])
if(o5[T4]=null,O2){if(N2==P2)break}else{if(8!=N2.nodeType)break;N2.data.startsWith("$s")&&(P2=B(O2=N2))}}
if(!O2){for(;l4&&8==l4.nodeType&&l4.nextSibling;)l4=l4.nextSibling;O2=l4}(s4=B(O2=r4.__c.__z||(r4.__c.
__z=O2)))?(r4.__e=O2,l4=s4):r4.__e=l4,l4=l4&&l4.nextSibling}else o5&&o5.some(g);else r4.__e=u4.__e;r4.
__k||(r4.__k=u4.__k||[]),t5&&t5.then||D(r4),n.__e(t5,r4,u4)}}else l4=r4.__e=F(u4.__e,r4,u4,i4,f5,o5,
e4,c4,a5,t4);return(s4=n.diffed)&&s4(r4),l4}function B(n3,t4){if(n3&&8==n3.nodeType&&n3.data.startsWith(
"$s"))for(var r4=1;n3=n3.nextSibling;){if(8==n3.nodeType){if(n3.data.startsWith("$s"))r4++;else if(n3.
data.startsWith("/$s")&&!--r4)return n3}t4&&t4.push(n3)}}function D(n3){n3&&(n3.__c&&(n3.__c.__g|=4),
n3.__k&&n3.__k.some(D))}function E(t4,r4,u4){for(var i4=0;i4<u4.length;)G(u4[i4++],u4[i4++],u4[i4++]);
n.__c&&n.__c(r4,t4),t4.some(function(r5){try{t4=r5.__h,r5.__h=[],t4.some(function(n3){n3.call(r5)})}catch(t5){
n.__e(t5,r5.__v)}})}function F(t4,r4,u4,i4,f5,o5,e4,l4,c4,a5){var s4,h5,y5,_4,k4,b3,m5,M2,$2=u4.props||
p,x3=r4.props,C3=r4.type;if("svg"==C3?f5="http://www.w3.org/2000/svg":"math"==C3?f5="http://www.w3.o\
rg/1998/Math/MathML":f5||(f5="http://www.w3.org/1999/xhtml"),o5){for(s4=0;s4<o5.length;s4++)if((k4=o5[s4])&&
(C3?k4.localName==C3:3==k4.nodeType)){t4=k4,o5[s4]=null;break}}if(!t4){if(M2=a5.ownerDocument||document,
!C3)return M2.createTextNode(x3);t4=M2.createElementNS(f5,C3,x3.is?x3:a5),l4&&(n.__m&&n.__m(r4,o5),l4=
false),o5=null}if(C3){if(a5="template"==C3&&t4.content||t4,o5="textarea"==C3&&null!=x3.defaultValue?
null:o5&&d.call(a5.childNodes),!l4&&o5)for($2={},s4=0;s4<t4.attributes.length;s4++)$2[(k4=t4.attributes[s4]).
name]=k4.value;for(s4 in $2)k4=$2[s4],"dangerouslySetInnerHTML"==s4?y5=k4:"children"==s4||s4 in x3||
"value"==s4&&"defaultValue"in x3||"checked"==s4&&"defaultChecked"in x3||N(t4,s4,null,k4,f5);for(s4 in x3)
k4=x3[s4],"children"==s4?_4=k4:"dangerouslySetInnerHTML"==s4?h5=k4:"value"==s4?b3=k4:"checked"==s4?m5=
k4:l4&&"function"!=typeof k4||$2[s4]===k4||N(t4,s4,k4,$2[s4],f5);h5?(l4||y5&&(h5.__html==y5.__html||
h5.__html==t4.innerHTML)||(t4.innerHTML=h5.__html),r4.__k=[]):(y5&&(t4.textContent=""),("foreignObje\
ct"==C3||"http://www.w3.org/1998/Math/MathML"==f5&&v.test(C3))&&(f5="http://www.w3.org/1999/xhtml"),
I(a5,w(_4)?_4:[_4],r4,u4,i4,f5,o5,e4,o5?o5[0]:u4.__k&&S(u4,0),l4,c4),o5&&o5.some(g)),l4&&"textarea"!=
C3||(s4="value","progress"==C3&&null==b3?t4.removeAttribute(s4):null==b3||b3===t4[s4]&&("progress"!=
C3||b3)||N(t4,s4,b3,$2[s4],f5),s4="checked",null!=m5&&m5!=t4[s4]&&N(t4,s4,m5,$2[s4],f5))}else $2===x3||
l4&&t4.data==x3||(t4.data=x3);return t4}function G(t4,r4,u4,i4){try{"function"==typeof t4?r4?r4.__x=
t4(r4)||1:i4&&(i4=i4.__c||i4.__e)&&(r4=i4.__x)&&(i4.__x=null,"function"==typeof r4?r4():t4(null)):t4.
current=r4}catch(t5){n.__e(t5,u4)}}function J(t4,r4,u4){var i4,f5,o5,e4;if(n.unmount&&n.unmount(t4),
!(i4=t4.ref)||i4.current&&i4.current!=t4.__e||G(i4,null,r4,t4),i4=t4.__c){if(i4.componentWillUnmount)
try{i4.componentWillUnmount()}catch(t5){n.__e(t5,r4)}i4.__P=i4.__n=null}if(i4=t4.__k)for(e4=0;e4<i4.
length;e4++)i4[e4]&&J(i4[e4],r4,"function"!=typeof t4.type||u4&&!t4.props.__P);!u4&&(i4=t4.__c)&&(i4=
i4.__z)&&(f5=B(i4,o5=[]))&&(i4==t4.__e&&o5.some(g),g(f5),g(i4)),u4||g(t4.__e),t4.__e=t4.__c=t4.__=null}
function K(n3,t4,r4){return this.constructor(n3,r4)}function Q(t4,r4){var u4,i4,f5,o5;n.__&&n.__(t4,
r4),9==r4.nodeType&&(r4=r4.documentElement),i4=(u4=t4&&32&t4.__u)?null:r4.__k,r4.__k=m($,{children:[
t4]}),f5=[],o5=[],z(r4,r4.__k,i4||p,p,r4.namespaceURI,i4?null:r4.firstChild?d.call(r4.childNodes):null,
f5,i4?i4.__e:r4.firstChild,u4,o5),E(f5,r4.__k,o5),r4.__k.props.children=null}n={__e:function(n3,t4,r4,u4){for(var i4,o5,e4;t4=t4.__;)if((i4=t4.__c)&&!(1&i4.__g)){i4.__g|=4;try{if((e4=
(o5=i4.constructor)&&o5.getDerivedStateFromError)&&i4.setState(o5.getDerivedStateFromError(n3)),i4.componentDidCatch&&
(i4.componentDidCatch(n3,u4||{}),e4=1),e4&&8&i4.__g)return void(i4.__g|=2)}catch(t5){n3=t5}}throw f=
0,n3}},t=0,r=function(n3){return null!=n3&&n3.constructor===h},x.prototype.setState=function(n3,t4){
var r4=this.__s;r4&&r4!=this.state||(r4=this.__s=_({},this.state)),"function"==typeof n3&&(n3=n3(_({},
r4),this.props)),n3&&(_(r4,n3),this.__v&&(t4&&this.__k.push(t4),L(this)))},x.prototype.forceUpdate=function(n3){
this.__v&&(this.__g|=4,n3&&this.__h.push(n3),L(this))},x.prototype.render=$,u=[],f=0,o=function(n3,t4){
return n3.__v.__b-t4.__v.__b},e=Symbol(),l=/(PointerCapture)$|Capture$/i,c=0,a={},s=0;var t2;var r2;var u2;var i2;var o2=Object.is;var f2=0;var c2=[];var e2=[];var a2=n;var v2=a2.__b;var l2=a2.
__r;var m2=a2.diffed;var h2=a2.__c;var s2=a2.unmount;var p2=a2.__;function y2(n3,t4){a2.__h&&a2.__h(
r2,n3,f2||t4),f2=0;var u4=r2.__H||(r2.__H={__:[],__h:[]});return n3>=u4.__.length&&u4.__.push({}),u4.
__[n3]}function d2(n3){return f2=1,_2(G2,n3)}function _2(n3,u4,i4){var f5=y2(t2++,2);if(f5.t=n3,!f5.
__c&&(f5.__=[i4?i4(u4):G2(void 0,u4),function(n4){var t4=(f5.__N||f5.__)[0],r4=f5.t(t4,n4);o2(t4,r4)||
(f5.__N=[r4,f5.__[1]],f5.__c.setState({}))}],f5.__c=r2,!r2.__f)){r2.__f=true;var c4=r2.shouldComponentUpdate;
r2.shouldComponentUpdate=function(n4,t4,r4){var u5=this.__H;if(!u5)return true;var i5=false,f6=this.
props!=n4;if(u5.__.some(function(n5){n5.__N&&(i5=true,o2(n5.__[0],n5.__N[0])||(f6=true))}),c4){var e4=c4.
call(this,n4,t4,r4);return i5?e4||f6:e4}return!i5||f6}}return f5.__}function A2(n3,u4){var i4=y2(t2++,
3);!a2.__s&&E2(i4.__H,u4)&&(i4.__P=true,i4.__=n3,i4.u=u4,r2.__H.__h.push(i4))}function T2(n3){return f2=5,w2(function(){return{current:n3}},[])}function w2(n3,r4){var u4=y2(t2++,7);return E2(u4.__H,r4)&&(u4.__=n3(),u4.__H=r4),u4.__}function g2(){var n3;do{for(;n3=e2.shift();)try{C2(n3)}catch(t5){a2.__e(t5,{__:(n3=n3.__P)&&n3.__v})}
for(;n3=c2.shift();){var t4=n3.__H;if(n3.__P&&t4)try{t4.__h.some(C2),t4.__h.some(D2),t4.__h=[]}catch(r4){
t4.__h=[],a2.__e(r4,n3.__v)}}}while(e2.length)}a2.__b=function(n3){r2=null,v2&&v2(n3)},a2.__=function(n3,t4){
n3&&t4.__k&&t4.__k.__m&&(n3.__m=t4.__k.__m),p2&&p2(n3,t4)},a2.__r=function(n3){l2&&l2(n3),t2=0;var i4=(r2=
n3.__c).__H;i4&&(u2==r2?r2.__h=[]:(i4.__h.some(C2),i4.__h.some(D2),t2=0),i4.__h=[],i4.__.some(function(n4){
n4.__N&&(n4.__=n4.__N),n4.u=n4.__N=void 0})),u2=r2},a2.diffed=function(n3){m2&&m2(n3);var t4=n3.__c;
t4&&t4.__H&&(t4.__H.__h.length&&B2(c2.push(t4)),t4.__H.__.some(function(n4){n4.u&&(n4.__H=n4.u)})),u2=
r2=null},a2.__c=function(n3,t4){t4.some(function(n4){try{n4.__h.some(C2),n4.__h=n4.__h.filter(function(n5){
return!n5.__||D2(n5)})}catch(t5){n4.__h=[function(){throw t5}]}}),h2&&h2(n3,t4)},a2.unmount=function(n3){
s2&&s2(n3);var t4,r4,u4=n3.__c;u4&&u4.__H&&(u4.__H.__.some(function(u5){try{if(u5.__P&&u5.__c){if(void 0===
r4){for(r4=n3.__;r4&&(!r4.__c||!r4.__c.__P);)r4=r4.__;r4=r4&&r4.__c}u5.__P=r4,B2(e2.push(u5))}else C2(
u5)}catch(n4){t4=n4}}),u4.__H=void 0,t4&&a2.__e(t4,u4.__v))};var k2="function"==typeof requestAnimationFrame;
function z2(n3){var t4,r4=function(){clearTimeout(u4),k2&&cancelAnimationFrame(t4),setTimeout(n3)},u4=setTimeout(
r4,35);k2&&(t4=requestAnimationFrame(r4))}function B2(n3){1!=n3&&i2==a2.requestAnimationFrame||((i2=
a2.requestAnimationFrame)||z2)(g2)}function C2(n3){var t4=r2,u4=n3.__c;"function"==typeof u4&&(n3.__c=
void 0,u4()),r2=t4}function D2(n3){var t4=r2;n3.__c=n3.__(),r2=t4}function E2(n3,t4){return!n3||n3.length!=
t4.length||t4.some(function(t5,r4){return!o2(t5,n3[r4])})}function G2(n3,t4){return"function"==typeof t4?
t4(n3):t4}var i3=Symbol.for("preact-signals");function t3(){if(!(v3>1)){var i4,t4=false;!(function(){var i5=c3;
c3=void 0;while(void 0!==i5){var t5=i5.S;if(t5.v===i5.v){for(var r5=t5.t;void 0!==r5;r5=r5.x)if(r5.i===
i5.i)r5.i=t5.i}i5=i5.o}})();while(void 0!==h3){var r4=h3;h3=void 0;s3++;while(void 0!==r4){var n3=r4.
u;r4.u=void 0;r4.f&=-3;if(!(8&r4.f)&&w3(r4))try{r4.c()}catch(r5){if(!t4){i4=r5;t4=true}}r4=n3}}s3=0;
v3--;if(t4)throw i4}else v3--}function r3(i4){if(v3>0)return i4();u3=++e3;v3++;try{return i4()}finally{
t3()}}var n2;var o3=void 0;function f3(i4){var t4=o3,r4=n2;o3=void 0;n2=void 0;try{return i4()}finally{
o3=t4;n2=r4}}var h3=void 0;var v3=0;var s3=0;var e3=0;var u3=0;var c3=void 0;var a3=0;function d3(i4){
if(void 0!==o3){var t4=i4.n;if(void 0===t4||t4.t!==o3){t4={i:0,S:i4,p:o3.s,n:void 0,t:o3,e:void 0,x:void 0,
r:t4};if(void 0!==o3.s)o3.s.n=t4;o3.s=t4;i4.n=t4;if(32&o3.f)i4.S(t4);return t4}else if(-1===t4.i){t4.
i=0;if(void 0!==t4.n){t4.n.p=t4.p;if(void 0!==t4.p)t4.p.n=t4.n;t4.p=o3.s;t4.n=void 0;o3.s.n=t4;o3.s=
t4}return t4}}}function l3(i4,t4){this.v=i4;this.i=0;this.n=void 0;this.t=void 0;this.l=0;this.W=null==
t4?void 0:t4.watched;this.Z=null==t4?void 0:t4.unwatched;this.name=null==t4?void 0:t4.name}l3.prototype.
brand=i3;l3.prototype.h=function(){return true};l3.prototype.S=function(i4){var t4=this,r4=this.t;if(r4!==
i4&&void 0===i4.e){i4.x=r4;this.t=i4;if(void 0!==r4)r4.e=i4;else f3(function(){var i5;null==(i5=t4.W)||
i5.call(t4)})}};l3.prototype.U=function(i4){var t4=this;if(void 0!==this.t){var r4=i4.e,n3=i4.x;if(void 0!==
r4){r4.x=n3;i4.e=void 0}if(void 0!==n3){n3.e=r4;i4.x=void 0}if(i4===this.t){this.t=n3;if(void 0===n3)
f3(function(){var i5;null==(i5=t4.Z)||i5.call(t4)})}}};l3.prototype.subscribe=function(i4){var t4=this;
return x2(function(){var r4=t4.value;f3(function(){return i4(r4)})},{name:"sub"})};l3.prototype.valueOf=
function(){return this.value};l3.prototype.toString=function(){return this.value+""};l3.prototype.toJSON=
function(){return this.value};l3.prototype.peek=function(){var i4=this;return f3(function(){return i4.
value})};Object.defineProperty(l3.prototype,"value",{get:function(){var i4=d3(this);if(void 0!==i4)i4.
i=this.i;return this.v},set:function(i4){if(i4!==this.v){if(s3>100)throw new Error("Cycle detected");
!(function(i5){if(0!==v3&&0===s3){if(i5.l!==u3){i5.l=u3;c3={S:i5,v:i5.v,i:i5.i,o:c3}}}})(this);this.
v=i4;this.i++;a3++;v3++;try{for(var r4=this.t;void 0!==r4;r4=r4.x)r4.t.N()}finally{t3()}}}});function y3(i4,t4){
return new l3(i4,t4)}function w3(i4){for(var t4=i4.s;void 0!==t4;t4=t4.n)if(t4.S.i!==t4.i||!t4.S.h()||
t4.S.i!==t4.i)return true;return false}function b(i4){for(var t4=i4.s;void 0!==t4;t4=t4.n){var r4=t4.
S.n;if(void 0!==r4)t4.r=r4;t4.S.n=t4;t4.i=-1;if(void 0===t4.n){i4.s=t4;break}}}function _3(i4){var t4=i4.
s,r4=void 0;while(void 0!==t4){var n3=t4.p;if(-1===t4.i){t4.S.U(t4);if(void 0!==n3)n3.n=t4.n;if(void 0!==
t4.n)t4.n.p=n3}else r4=t4;t4.S.n=t4.r;if(void 0!==t4.r)t4.r=void 0;t4=n3}i4.s=r4}function j2(i4,t4){
l3.call(this,void 0,t4);this.x=i4;this.s=void 0;this.g=a3-1;this.f=4}j2.prototype=new l3;j2.prototype.
h=function(){this.f&=-3;if(1&this.f)return false;if(32==(36&this.f))return true;this.f&=-5;if(this.g===
a3)return true;this.g=a3;this.f|=1;if(this.i>0&&!w3(this)){this.f&=-2;return true}var i4=o3;try{b(this);
o3=this;var t4=this.x();if(16&this.f||this.v!==t4||0===this.i){this.v=t4;this.f&=-17;this.i++}}catch(i5){
this.v=i5;this.f|=16;this.i++}o3=i4;_3(this);this.f&=-2;return true};j2.prototype.S=function(i4){if(void 0===
this.t){this.f|=36;for(var t4=this.s;void 0!==t4;t4=t4.n)t4.S.S(t4)}l3.prototype.S.call(this,i4)};j2.
prototype.U=function(i4){if(void 0!==this.t){l3.prototype.U.call(this,i4);if(void 0===this.t){this.f&=
-33;for(var t4=this.s;void 0!==t4;t4=t4.n)t4.S.U(t4)}}};j2.prototype.N=function(){if(!(2&this.f)){this.
f|=6;for(var i4=this.t;void 0!==i4;i4=i4.x)i4.t.N()}};Object.defineProperty(j2.prototype,"value",{get:function(){
if(1&this.f)throw new Error("Cycle detected");var i4=d3(this);this.h();if(void 0!==i4)i4.i=this.i;if(16&
this.f)throw this.v;return this.v}});function O(i4,t4){return new j2(i4,t4)}function p3(i4){var r4=i4.
j;i4.j=void 0;if("function"==typeof r4){v3++;var n3=o3;o3=void 0;try{r4()}catch(t4){i4.f&=-2;i4.f|=8;
g3(i4);throw t4}finally{o3=n3;t3()}}}function g3(i4){for(var t4=i4.s;void 0!==t4;t4=t4.n)t4.S.U(t4);
i4.x=void 0;i4.s=void 0;p3(i4)}function S2(i4){if(o3!==this)throw new Error("Out-of-order effect");_3(
this);o3=i4;this.f&=-2;try{if(8&this.f)g3(this)}finally{t3()}}function m3(i4,t4){this.x=i4;this.j=void 0;
this.s=void 0;this.u=void 0;this.f=32;this.name=null==t4?void 0:t4.name;if(n2)n2.push(this)}m3.prototype.
c=function(){var i4=this.S();try{if(8&this.f)return;if(void 0===this.x)return;var t4=this.x();if("fu\
nction"==typeof t4)this.j=t4}finally{i4()}};m3.prototype.S=function(){if(1&this.f)throw new Error("C\
ycle detected");this.f|=1;this.f&=-9;p3(this);b(this);v3++;var i4=o3;o3=this;return S2.bind(this,i4)};
m3.prototype.N=function(){if(!(2&this.f)){this.f|=2;this.u=h3;h3=this}};m3.prototype.d=function(){this.
f|=8;if(!(1&this.f))g3(this)};m3.prototype.dispose=function(){this.d()};function x2(i4,t4){var r4=new m3(
i4,t4);try{r4.c()}catch(i5){r4.d();throw i5}var n3=r4.d.bind(r4);n3[Symbol.dispose]=n3;return n3}var h4;var d4;var p4;var m4="undefined"!=typeof window&&!!window.__PREACT_SIGNALS_DEVTOOLS__;var g4=[];x2(function(){h4=this.N})();function b2(i4,n3){n[i4]=n3.bind(null,n[i4]||function(){})}function y4(i4){
if(p4){var n3=p4;p4=void 0;n3()}p4=i4&&i4.S()}function w4(i4){var n3=this,r4=i4.data,t4=useSignal(r4);
t4.name="ReactiveDom";t4.value=r4;var e4=w2(function(){var i5=n3,r5=n3.__v;while(r5=r5.__)if(r5.__c){
r5.__c.__$f|=4;break}var o5=O(function(){var i6=t4.value.value;return 0===i6?0:true===i6?"":i6||""}),
e5=O(function(){return!Array.isArray(o5.value)&&!r(o5.value)}),u5=x2(function(){this.N=M;if(e5.value){
var n4=o5.value;if(i5.__v&&i5.__v.__e&&3===i5.__v.__e.nodeType)i5.__v.__e.data=n4}}),c5=n3.__$u.d;n3.
__$u.d=function(){u5();c5.call(this)};return[e5,o5]},[]),u4=e4[0],c4=e4[1];return u4.value?c4.peek():
c4.value}w4.displayName="ReactiveTextNode";Object.defineProperties(l3.prototype,{constructor:{configurable:true,
value:k($,null).constructor},type:{configurable:true,value:w4},props:{configurable:true,get:function(){
var i4=this;return{data:{get value(){return i4.value}}}}},__b:{configurable:true,value:1}});b2("__b",
function(i4,n3){y4();d4=void 0;if("string"==typeof n3.type){var r4,t4=n3.props;for(var f5 in t4)if("\
children"!==f5){var o5=t4[f5];if(o5 instanceof l3){if(!r4)n3.__np=r4={};r4[f5]=o5;t4[f5]=o5.peek()}}}
i4(n3)});b2("__r",function(i4,r4){i4(r4);if(r4.type!==$){y4();var t4,f5=r4.__c;if(f5){f5.__$f&=-2;if(void 0===
(t4=f5.__$u))f5.__$u=t4=(function(i5,n3){var r5;x2(function(){r5=this},{name:n3});r5.c=i5;return r5})(
(function(i5){return function(){var n3;if(m4)null==(n3=this.y)||n3.call(this);i5.__$f|=1;i5.setState(
{})}})(f5),"function"==typeof r4.type?r4.type.displayName||r4.type.name:"")}d4=f5;y4(t4)}});b2("__e",
function(i4,n3,r4,t4){y4();d4=void 0;i4(n3,r4,t4)});b2("diffed",function(i4,n3){y4();d4=void 0;var r4;
if("string"==typeof n3.type&&(r4=n3.__e)){var t4=n3.__np,f5=n3.props,o5=r4.U;if(o5)for(var e4 in o5){
var u4=o5[e4];if(!(void 0===u4||t4&&e4 in t4)){u4.d();o5[e4]=void 0}}if(t4){if(!o5){o5={};r4.U=o5}for(var a5 in t4){
var c4=o5[a5],v4=t4[a5];if(void 0===c4){c4=k3(r4,a5,v4,f5);o5[a5]=c4}else c4.o(v4,f5)}}}i4(n3)});function k3(i4,n3,r4,t4){
var f5=n3 in i4&&void 0===i4.ownerSVGElement,o5=y3(r4);return{o:function(i5,n4){o5.value=i5;t4=n4},d:x2(
function(){this.N=M;var r5=o5.value.value;if(t4[n3]!==r5){t4[n3]=r5;if(f5)i4[n3]=r5;else if(null!=r5&&
(false!==r5||"-"===n3[4]))i4.setAttribute(n3,r5);else i4.removeAttribute(n3)}})}}b2("unmount",function(i4,n3){
if("string"==typeof n3.type){var r4=n3.__e;if(r4){var t4=r4.U;if(t4){r4.U=void 0;for(var f5 in t4){var o5=t4[f5];
if(o5)o5.d()}}}var e4=n3.__np;if(e4){var u4=n3.props;for(var a5 in e4)u4[a5]=e4[a5]}n3.__np=void 0}else{
var c4=n3.__c;if(c4){c4.__$f|=8;var v4=c4.__$u;if(v4){c4.__$u=void 0;v4.d()}}}i4(n3)});b2("__h",function(i4,n3,r4,t4){
if(t4<3)n3.__$f|=2;i4(n3,r4,t4)});x.prototype.shouldComponentUpdate=function(i4,n3){if(this.__R)return true;
var r4=this.__$u,t4=r4&&void 0!==r4.s;for(var f5 in n3)return true;if(this.__f||"boolean"==typeof this.
u&&true===this.u){var o5=2&this.__$f;if(!(t4||o5||4&this.__$f))return true;if(1&this.__$f)return true}else{
if(!(t4||4&this.__$f))return true;if(3&this.__$f)return true}for(var e4 in i4)if("__source"!==e4&&i4[e4]!==
this.props[e4])return true;for(var u4 in this.props)if(!(u4 in i4))return true;return false};function useSignal(i4,n3){
return w2(function(){return y3(i4,n3)},[])}var A3=function(i4){queueMicrotask(function(){queueMicrotask(i4)})};function F2(){r3(function(){var i4;while(i4=g4.shift())h4.call(i4)})}function M(){if(1===g4.push(this))
(n.requestAnimationFrame||A3)(F2)}var times=numbers=>numbers.join(" × ");var count=n3=>n3.toLocaleString("en");var share=p5=>`${(100*
p5).toFixed(p5<.0995?2:1)} %`;var plural=(n3,word)=>`${count(n3)} ${word}${n3===1?"":word.endsWith(
"s")?"es":"s"}`;var f4=Symbol.for("pv");var o4=0;function a4(t4,e4,n3,u4,a5,i4){e4||(e4={});var c4,l4,p5=e4;if("ref"in p5&&"function"!=typeof t4)for(l4 in p5=
{},e4)"ref"==l4?c4=e4[l4]:p5[l4]=e4[l4];var s4={type:t4,props:p5,key:n3,ref:c4,__k:null,__:null,__b:0,
__e:null,__c:null,constructor:f4,__v:--o4,__i:-1,__u:0};return(a5||i4)&&(s4.__source=a5,s4.__self=i4),
n.vnode&&n.vnode(s4),s4}function Bars({bars,chosen,onChoose,label}){return a4("ol",{class:"bars","aria-label":label,children:bars.
map(({label:words,value,id})=>a4("li",{class:id!==void 0&&id===chosen?"chosen":"",children:[onChoose&&
id!==void 0?a4("button",{type:"button",class:"name","data-class":id,"aria-pressed":id===chosen,onClick:()=>onChoose(
id),children:words}):a4("span",{class:"name",children:words}),a4("span",{class:"bar-back","aria-hidd\
en":"true",children:a4("span",{class:"bar-fill",style:{width:`${100*Math.max(0,Math.min(1,value))}%`}})}),
a4("span",{class:"number",children:share(value)})]},words))})}function usePaint(paint,needs){const ref=T2(null);const width=useWidth(ref);A2(()=>{if(ref.current&&
width>0)paint(ref.current,width)},[...needs,width]);return ref}function useWidth(ref){const[width,set]=d2(
0);A2(()=>{const parent=ref.current?.parentElement;if(!parent)return void 0;const measure=()=>{const style=getComputedStyle(
parent);set(Math.max(0,Math.floor(parent.clientWidth-parseFloat(style.paddingLeft)-parseFloat(style.
paddingRight))))};measure();const observer=new ResizeObserver(measure);observer.observe(parent);return()=>observer.
disconnect()},[]);return width}function Seen({trace}){const{photo}=trace.manifest;const ref=usePaint(canvas=>{void trace.image("see\
n").then(image=>{[canvas.width,canvas.height]=[image.width,image.height];canvas.getContext("2d")?.drawImage(
image,0,0)})},[trace]);return a4("figure",{class:"seen",children:[a4("div",{children:a4("canvas",{ref,
role:"img","aria-label":`The photo as the model sees it, ${times(photo.input)} pixels`})}),a4("figca\
ption",{children:["all the model sees: ",times(photo.input)," pixels"]})]})}function Answer({app}){const trace=app.
trace.value;const{answer,model}=trace.manifest;const bars=answer.map(({label,probability,class:id})=>({
label,value:probability,id}));return a4("section",{class:"card answer","aria-labelledby":"vitrail-an\
swer",children:[a4("h2",{id:"vitrail-answer",children:"What it answers"}),a4(Seen,{trace}),a4("div",
{children:[answer.length>0&&a4(Bars,{bars,label:"Most probable classes",chosen:app.state.cls.value,onChoose:id=>{
app.state.cls.value=id}}),a4("p",{class:"note",children:answer.length>0?`The ${answer.length} most p\
robable of ${plural(model.classes,"class")}. Choose one to ask what speaks for it.`:"This model has \
no classifier: it answers with features only."})]})]})}function Code({app,code}){const text=T2(null);const copy=async()=>{try{await navigator.clipboard.writeText(
code);app.say("Python copied.")}catch{const selection=getSelection();if(selection&&text.current){selection.
removeAllRanges();selection.selectAllChildren(text.current)}app.say("Selected; copy it with your key\
board.")}};return a4("div",{class:"code",children:[a4("button",{type:"button","data-tool":"copy",onClick:()=>void copy(),
children:"Copy"}),a4("pre",{ref:text,tabIndex:0,"data-python":true,children:code})]})}function prelude(app){const{python}=app.trace.value.manifest;return["import vitrail","",`model = ${python.
model}`,`report = vitrail.explore(model, ${python.photo}, size=(${python.size.join(", ")}))`,"trace \
= report.trace"].join("\n")}function Provenance({app}){const{model,photo,blocks,versions}=app.trace.value.manifest;const worst=Math.
max(...blocks.map(block=>block.error));const facts=[["model",`${model.name}, ${count(model.parameters)}\
 parameters`],["weights",`${model.weights} (${model.trained?"trained":"untrained"})`],["SHA-256 of t\
he weights",model.sha256,"hash"],...model.adapted?[["taken over from",`${model.adapted.from}; its ow\
n answer differs by at most ${model.adapted.difference.toExponential(1)}`]]:[],["photo",`${photo.name}\
, ${times(photo.original)} pixels (height × width)`],["made ready by",model.transform.join("; ")],[
"software",versions],["check",`these weights times the values give each block's own output to within\
 ${worst.toExponential(1)}`],["precision","weights are stored in 8 bits as square roots; each is rig\
ht to within 0.002"]];return a4("section",{class:"card provenance","aria-labelledby":"vitrail-facts",
"data-provenance":true,children:[a4("h2",{id:"vitrail-facts",children:"What this was computed from"}),
a4("dl",{class:"facts wide",children:facts.map(([name,value,look])=>[a4("dt",{children:name},name),a4(
"dd",{class:look,children:value},`${name}=`)])}),a4("p",{class:"note",children:"Attention says where\
 information is fetched from. It does not say what the answer depends on: a token can be looked at a\
nd ignored."}),a4(Code,{app,code:prelude(app)})]})}var SORTS=["index","distance","entropy"];var tokens=block=>block.prefix+block.spatial[0]*block.spatial[1];
function placeOf(block,token,input){const at=token-block.prefix;const[y5,x3]=[Math.floor(at/block.spatial[1]),
at%block.spatial[1]];return[(y5+.5)*block.stride[0]/input[0],(x3+.5)*block.stride[1]/input[1]]}function tokenAt(block,place,input){
const[y5,x3]=place.map((p5,axis)=>Math.min(block.spatial[axis]-1,Math.max(0,Math.floor(p5*input[axis]/
block.stride[axis]))));return block.prefix+y5*block.spatial[1]+x3}function defaults(trace){const{blocks,
photo,answer,methods}=trace.manifest;return{view:"canvas",block:0,head:-1,token:tokenAt(blocks[0],[.46,
.46],photo.input),cls:answer[0]?.class??0,method:methods[0]?.id??"",shift:0,step:-1,side:"A",sort:"i\
ndex",size:Math.max(...photo.input),window:blocks.find(block=>block.cut)?.cut?.window[0]??7}}function parse(hash,now,traces){
const given=new URLSearchParams(hash.replace(/^#/,""));const next={...now};const whole=(name,below)=>{
const text=given.get(name);return text!==null&&/^\d{1,9}$/.test(text)&&Number(text)<below?Number(text):
null};if(given.get("side")==="B"&&traces.length>1)next.side="B";else if(given.has("side"))next.side=
"A";const{blocks,model,methods}=traces[next.side==="B"?1:0].manifest;const block=whole("block",blocks.
length);if(block!==null&&block!==next.block){next.block=block;next.token=moved(traces[next.side==="B"?
1:0],now,block)}next.block=Math.min(next.block,blocks.length-1);const facts=blocks[next.block];next.
token=whole("token",tokens(facts))??Math.min(next.token,tokens(facts)-1);next.head=given.get("head")===
"mean"?-1:whole("head",facts.heads)??Math.min(next.head,facts.heads-1);next.cls=whole("class",Math.max(
1,model.classes))??next.cls;if(methods.some(({id})=>id===given.get("method")))next.method=given.get(
"method");const shift=Number(given.get("shift")??NaN);if(shift>=0&&shift<=1)next.shift=shift;next.step=
given.get("step")==="off"?-1:whole("step",99)??next.step;const sort=SORTS.find(name=>name===given.get(
"sort"));if(sort)next.sort=sort;next.size=whole("size",1e5)??next.size;next.window=whole("window",1e3)??
next.window;if(/^[a-z]+$/.test(given.get("view")??""))next.view=given.get("view");return next}function write(state,traces){
const words={view:state.view,block:String(state.block),token:String(state.token),head:state.head<0?"\
mean":String(state.head),class:String(state.cls),method:state.method,shift:String(Math.round(state.shift*
1e3)/1e3),step:state.step<0?"off":String(state.step),sort:state.sort,size:String(state.size),window:String(
state.window)};if(traces>1)words.side=state.side;return`#${new URLSearchParams(words)}`}function makeState(selection){
return Object.fromEntries(Object.entries(selection).map(([name,value])=>[name,y3(value)]))}function snapshot(state){
return Object.fromEntries(Object.entries(state).map(([name,field])=>[name,field.value]))}function assign(state,next){
r3(()=>{for(const[name,value]of Object.entries(next))state[name].value=value})}function moved(trace,now,block){
const{blocks,photo}=trace.manifest;const[from,to]=[blocks[Math.min(now.block,blocks.length-1)],blocks[Math.
min(block,blocks.length-1)]];if(now.token<from.prefix)return Math.min(now.token,tokens(to)-1);return tokenAt(
to,placeOf(from,now.token,photo.input),photo.input)}function selectSide(app,side){const[from,to]=[app.trace.value.manifest,app.traces[side==="B"?1:0].manifest];
const now=snapshot(app.state);const block=Math.min(now.block,to.blocks.length-1);const before=from.blocks[now.
block];const place=now.token<before.prefix?[.5,.5]:placeOf(before,now.token,from.photo.input);return{
side,block,head:Math.min(now.head,to.blocks[block].heads-1),token:tokenAt(to.blocks[block],place,to.
photo.input),method:to.methods.some(({id})=>id===now.method)?now.method:to.methods[0]?.id??"",cls:Math.
min(now.cls,Math.max(0,to.model.classes-1))}}var chooseSide=(app,side)=>assign(app.state,selectSide(
app,side));function linkAddress(app){let timer=0;const keep=x2(()=>{const hash=write(snapshot(app.state),
app.traces.length);clearTimeout(timer);timer=window.setTimeout(()=>{try{history.replaceState(null,"",
hash)}catch{}},200)});const listen=()=>assign(app.state,parse(location.hash,snapshot(app.state),app.
traces));addEventListener("hashchange",listen);return()=>{keep();clearTimeout(timer);removeEventListener(
"hashchange",listen)}}var Boundary=class extends x{state={fault:null};static getDerivedStateFromError(error){return{fault:error instanceof
Error?error.message:String(error)}}componentDidCatch(error){reportError(error)}render(){if(this.state.
fault!==null)return a4("p",{class:"warning",role:"alert",children:[this.props.name," cannot be shown\
: ",this.state.fault]});return a4($,{children:this.props.children})}};function Switch({label,choices,value,onChange}){return a4("div",{class:"switch",role:"group","aria-l\
abel":label,children:choices.map(({id,label:words,title,disabled})=>a4("button",{type:"button","data\
-choice":id,title,disabled,"aria-pressed":id===value,onClick:()=>onChange(id),children:words},id))})}var pyramid=null;var Tour=null;var views=[];function Header({app}){const{model,photo}=app.trace.value.manifest;return a4("header",{class:"top",children:[
a4("p",{class:"brand",children:[a4("svg",{viewBox:"0 0 24 24","aria-hidden":"true",children:[a4("pat\
h",{class:"p1",d:"M2 11V9a7 7 0 0 1 9-7v9z"}),a4("path",{class:"p2",d:"M13 2a7 7 0 0 1 9 7v2h-9z"}),
a4("path",{class:"p3",d:"M2 13h9v9H2z"}),a4("path",{class:"p4",d:"M13 13h9v9h-9z"})]}),"Vitrail"]}),
a4("h1",{children:[model.name," looks at ",photo.name]}),app.traces.length>1&&a4(Sides,{app}),!model.
trained&&a4("p",{class:"warning","data-untrained":true,children:"Untrained weights: this model has n\
ot learned anything yet. Which token may see which is right below; what the model answers and what i\
t attends to mean nothing."})]})}function Sides({app}){const name=side=>{const{model,photo}=app.traces[side].
manifest;return a4("span",{children:[a4("b",{children:"AB"[side]})," ",model.name,", ",photo.input.join(
" × "),", ",photo.name]})};return a4("div",{class:"sides",children:a4(Switch,{label:"Which of the\
 two is shown",value:app.state.side.value,onChange:side=>chooseSide(app,side),choices:[{id:"A",label:name(
0)},{id:"B",label:name(1)}]})})}function Tabs({app}){const list=T2(null);const shown=views.find(({id})=>id===
app.state.view.value)??views[0];if(!shown)return null;const move=event=>{const step={ArrowRight:1,ArrowLeft:-1,
Home:-views.length,End:views.length}[event.key];if(step===void 0)return;event.preventDefault();const at=views.
indexOf(shown);const next=Math.abs(step)>1?step<0?0:views.length-1:(at+step+views.length)%views.length;
app.state.view.value=views[next].id;list.current?.querySelectorAll("[role=tab]")[next]?.focus()};const{
Component}=shown;return a4("section",{class:"views","aria-label":"Views",children:[a4("div",{class:"\
tabs",role:"tablist","aria-label":"Views",ref:list,onKeyDown:move,children:views.map(({id,title})=>a4(
"button",{type:"button",role:"tab",id:`tab-${id}`,"data-tab":id,"aria-selected":id===shown.id,"aria-\
controls":`view-${id}`,tabIndex:id===shown.id?0:-1,onClick:()=>{app.state.view.value=id},children:title},
id))}),a4("div",{class:"view",role:"tabpanel",id:`view-${shown.id}`,"data-view":shown.id,"aria-label\
ledby":`tab-${shown.id}`,tabIndex:-1,children:a4(Boundary,{name:shown.title,children:a4(Component,{app})},
`${shown.id} ${app.state.side.value}`)})]})}function Shell({app}){const Pyramid=pyramid?.Component;const skip=event=>{
event.preventDefault();app.root.querySelector("[role=tabpanel]")?.focus()};return a4($,{children:[a4(
"a",{class:"skip",href:"#views",onClick:skip,children:"Skip to the picture"}),a4(Header,{app}),a4("m\
ain",{children:[a4("div",{class:"overview",children:[a4(Answer,{app}),Pyramid&&a4("section",{class:"\
card","data-view":"pyramid","aria-label":pyramid?.title,children:a4(Boundary,{name:"The pyramid",children:a4(
Pyramid,{app})},app.state.side.value)})]}),Tour&&a4(Boundary,{name:"The tour",children:a4(Tour,{app})}),
a4(Tabs,{app}),a4(Provenance,{app})]}),a4("p",{class:"away",role:"status","aria-live":"polite","data\
-live":true,children:app.said.value})]})}var Missing=class extends Error{constructor(array){super(`“${array}” is not kept in this report; t\
he server or a notebook can compute it.`);this.array=array}array};function widen(halves){const wide=new Float32Array(
halves.length);for(let i4=0;i4<halves.length;i4++){const half=halves[i4];const[exponent,fraction]=[half>>
10&31,half&1023];let value;if(exponent===0)value=fraction*2**-24;else if(exponent===31)value=fraction?
NaN:Infinity;else value=(1+fraction/1024)*2**(exponent-15);wide[i4]=half>>15?-value:value}return wide}
function toArray(dtype,shape,bytes){const whole=bytes.byteOffset%4?bytes.slice():bytes;const{buffer,
byteOffset:start,byteLength:length}=whole;const data=dtype==="i32"?new Int32Array(buffer,start,length/
4):dtype==="f32"?new Float32Array(buffer,start,length/4):dtype==="f16"?widen(new Uint16Array(buffer,
start,length/2)):whole;const expected=shape.reduce((product,n3)=>product*n3,1);if(data.length!==expected)
throw new Error(`an array of ${data.length} numbers, not ${expected}`);return{dtype,shape,data}}var Kept=class{constructor(load,limit=96e6){
this.load=load;this.limit=limit}load;limit;kept=new Map;bytes=0;array(name,signal){const known=this.
kept.get(name);if(known){this.kept.delete(name);this.kept.set(name,known);return known.promise}const entry={
promise:this.load(name,signal),bytes:0};this.kept.set(name,entry);entry.promise.then(array=>{entry.bytes=
array.data.byteLength;this.bytes+=entry.bytes;this.forget(name)},()=>this.kept.delete(name));return entry.
promise}forget(latest){for(const[name,{bytes}]of this.kept){if(this.bytes<=this.limit)return;if(!bytes||
name===latest)continue;this.kept.delete(name);this.bytes-=bytes}}};var AT_ONCE=4;function notebookSource(model){const manifest=model.get("manifest");const view=Math.random().
toString(36).slice(2);const waiting=[];const asked=new Map;let count2=0;const next=()=>{while(asked.
size<AT_ONCE){const mine=waiting.shift();if(!mine)return;asked.set(mine.id,mine);model.send({id:mine.
id,kind:"array",name:mine.name})}};const listen=(answer,buffers)=>{const mine=asked.get(answer.id);if(!mine)
return;if(answer.error===void 0){const{buffer,byteOffset,byteLength}=buffers[0];if(mine.left<0)mine.
left=answer.parts;mine.parts[answer.part]=new Uint8Array(buffer,byteOffset,byteLength);if(--mine.left>
0)return}asked.delete(answer.id);next();if(answer.error!==void 0){mine.fail(new Error(answer.error));
return}try{mine.done(toArray(answer.dtype,answer.shape,joined(mine.parts)))}catch(error){mine.fail(error)}};
model.on("msg:custom",listen);const ask=(name,signal)=>new Promise((done,fail)=>{const mine={id:`${view}\
-${count2++}`,name,parts:[],left:-1,done,fail};signal?.addEventListener("abort",()=>{const place=waiting.
indexOf(mine);if(place<0)return;waiting.splice(place,1);fail(signal.reason)});waiting.push(mine);next()});
const kept=new Kept(ask);return{manifest,has:name=>name in manifest.arrays,array:(name,signal)=>kept.
array(name,signal),dispose:()=>{model.off("msg:custom",listen);for(const{fail}of[...waiting.splice(0),
...asked.values()])fail(new Error("the page was closed"));asked.clear()}}}function joined(parts){if(parts.
length===1)return parts[0];const whole=new Uint8Array(parts.reduce((sum,part)=>sum+part.length,0));let at=0;
for(const part of parts){whole.set(part,at);at+=part.length}return whole}function fromBase64(text){const native=Uint8Array;if(native.fromBase64)return native.fromBase64(text);
const letters=atob(text);const bytes=new Uint8Array(letters.length);for(let i4=0;i4<letters.length;i4++)
bytes[i4]=letters.charCodeAt(i4);return bytes}async function inflate(packed){const stream=new Blob([
packed]).stream().pipeThrough(new DecompressionStream("gzip"));return new Uint8Array(await new Response(
stream).arrayBuffer())}function reportSources(page){const manifests=[];for(let i4=0;;i4++){const element=page.
getElementById(`manifest:${i4}`);if(!element)break;manifests.push(JSON.parse(element.textContent??""))}
const places=new Map;const key=(manifest,name)=>{const{dtype,shape,sha256}=manifest.arrays[name];return`${dtype}\
 ${shape.join()} ${sha256}`};manifests.forEach((manifest,i4)=>Object.keys(manifest.arrays).forEach(name=>{
const element=page.getElementById(`array:${i4}/${name}`);if(element)places.set(key(manifest,name),element)}));
return manifests.map(manifest=>{const kept=new Kept(async name=>{const facts=manifest.arrays[name];const element=facts&&
places.get(key(manifest,name));if(!element)throw new Missing(name);return toArray(facts.dtype,facts.
shape,await inflate(fromBase64(element.textContent??"")))});return{manifest,has:name=>name in manifest.
arrays,array:name=>kept.array(name)}})}var Server=class{constructor(token,base=""){this.token=token;this.base=base}token;base;async ask(path,options={}){
const headers=new Headers(options.headers);if(this.token)headers.set("X-Vitrail-Token",this.token);const answer=await fetch(
`${this.base}/api/${path}`,{...options,headers});if(answer.ok)return answer;const said=await answer.
text();let text=said||`${answer.status} ${answer.statusText}`;try{const{given,allowed,fix}=JSON.parse(
said);if(fix)text=`${given}. Allowed: ${allowed}. Fix: ${fix}`}catch{}throw new Error(text)}async json(path,options){
return await(await this.ask(path,options)).json()}async source(id){const manifest=await this.json(`t\
races/${id}`);const kept=new Kept(async(name,signal)=>{const answer=await this.ask(`traces/${id}/arr\
ays/${name}`,{signal});const dtype=answer.headers.get("X-Dtype");const shape=(answer.headers.get("X-\
Shape")??"").split(",").filter(Boolean).map(Number);return toArray(dtype,shape,new Uint8Array(await answer.
arrayBuffer()))});return{manifest,has:name=>name in manifest.arrays,array:(name,signal)=>kept.array(
name,signal)}}traces(){return this.json("traces")}async actions(){const{models}=await this.json("mod\
els");return{models,traces:()=>this.traces(),open:id=>this.source(id),run:async(request,photo,name)=>{
const words=new URLSearchParams({...request,name});return(await this.json(`run?${words}`,{method:"PO\
ST",body:photo})).id},job:id=>this.json(`jobs/${id}`),cancel:async id=>{await this.ask(`jobs/${id}`,
{method:"DELETE"})}}}};async function startServer(root2,mount2){const server=new Server(null);const[actions,traces]=await Promise.
all([server.actions(),server.traces()]);if(!traces.length)return;const source={...await server.source(
traces[traces.length-1].id),server:actions};await mount2([source],"server",root2)}var REMEMBERED=24;var Grid=class{rows;columns;prefix;total;padded;shift;slotOf;arrays;remembered=new Map;constructor(block,arrays){
const cut=block.cut&&{window:pair(block.cut.window),shift:pair(block.cut.shift)};this.arrays={...arrays,
cut,groups:block.groups,asking:block.queries_per_group,answering:block.keys_per_group};[this.rows,this.
columns]=block.spatial;this.prefix=block.prefix;this.total=this.prefix+this.rows*this.columns;this.shift=
cut?cut.shift:[0,0];this.padded=cut?[up(this.rows,cut.window[0]),up(this.columns,cut.window[1])]:[this.
rows,this.columns];this.slotOf=new Int32Array(this.total).fill(-1);arrays.queries.forEach((token,slot)=>{
if(token>=0)this.slotOf[token]=slot})}get queries(){return this.arrays.queries}get keys(){return this.
arrays.keys}get boxes(){return this.arrays.boxes}get asking(){return this.arrays.asking}get answering(){
return this.arrays.answering}get rolls(){return this.shift[0]>0||this.shift[1]>0}isPrefix(token){return token>=
0&&token<this.prefix}isToken(token){return token>=0&&token<this.total}group(slot){return Math.floor(
slot/this.asking)}member(group,key){return group*this.answering+key}key(group,key){return this.keys[this.
member(group,key)]}tokenAt(y5,x3){return this.prefix+y5*this.columns+x3}position(token){const place=token-
this.prefix;return[Math.floor(place/this.columns),place%this.columns]}place(slot){const{cut,asking,queries}=this.
arrays;if(!cut)return queries[slot]<this.prefix?null:this.position(queries[slot]);const[high,wide]=cut.
window;const across=this.padded[1]/wide;const[group,key]=[Math.floor(slot/asking),slot%asking];const y5=Math.
floor(group/across)*high+Math.floor(key/wide);const x3=group%across*wide+key%wide;return[(y5+this.shift[0])%
this.padded[0],(x3+this.shift[1])%this.padded[1]]}slotAt(y5,x3){const{cut,asking}=this.arrays;if(y5<
0||x3<0||y5>=this.padded[0]||x3>=this.padded[1])return-1;if(!cut)return this.slotOf[this.tokenAt(y5,
x3)];const[high,wide]=cut.window;const v4=(y5-this.shift[0]+this.padded[0])%this.padded[0];const h5=(x3-
this.shift[1]+this.padded[1])%this.padded[1];const group=Math.floor(v4/high)*(this.padded[1]/wide)+Math.
floor(h5/wide);return group*asking+v4%high*wide+h5%wide}sees(slot,group,key){const{queryRegions,keyRegions}=this.
arrays;return!queryRegions||!keyRegions||queryRegions[slot]===keyRegions[this.member(group,key)]}standing(slot,key){
const group=this.group(slot);if(!this.sees(slot,group,key))return"masked";return this.key(group,key)<
0?"padding":"seen"}region(group,key){return this.arrays.keyRegions?this.arrays.keyRegions[this.member(
group,key)]:0}regionOf(slot){return this.arrays.queryRegions?this.arrays.queryRegions[slot]:0}parts(group){
const labels=new Set;for(let key=0;key<this.answering;key++){if(this.key(group,key)>=0)labels.add(this.
region(group,key))}return[...labels]}box(group,key){const[member,{cut,boxes}]=[this.member(group,key),
this.arrays];if(cut)return cell(this.place(member));const token=this.keys[member];if(token<this.prefix)
return null;if(token<this.total)return cell(this.position(token));return boxes&&[boxes[4*member],boxes[4*
member+2],boxes[4*member+1],boxes[4*member+3]]}ownKey(slot){const start=this.member(this.group(slot),
0);return this.keys.subarray(start,start+this.answering).indexOf(this.queries[slot])}spots(group){return this.
remember(`spots ${group}`,()=>this.findSpots(group))}table(group){return this.remember(`table ${group}`,
()=>this.findTable(group))}remember(name,find){const known=this.remembered.get(name);if(known)return known;
if(this.remembered.size>=REMEMBERED)this.remembered.clear();const found=find();this.remembered.set(name,
found);return found}findSpots(group){const[boxes,first,known]=[[],[],new Map];const spotOf=new Int32Array(
this.answering).fill(-1);for(let key=0;key<this.answering;key++){const box=this.box(group,key);if(!box)
continue;const name=box.join();let spot=known.get(name);if(spot===void 0){spot=boxes.push(box)-1;known.
set(name,spot);first.push(key)}spotOf[key]=spot}const wide=this.padded[1];const cover=new Int32Array(
this.padded[0]*wide).fill(-1);const order=boxes.map((_4,spot)=>spot).sort((a5,b3)=>area(boxes[b3])-area(
boxes[a5]));for(const spot of order){const[y0,x0,y1,x1]=boxes[spot];for(let y5=y0;y5<y1;y5++)cover.fill(
spot,y5*wide+x0,y5*wide+x1)}const cells=[];cover.forEach((spot,at)=>{if(spot>=0)cells.push([Math.floor(
at/wide),at%wide])});const pooled=boxes.some(box=>area(box)>1);return{boxes,spotOf,cover,cells,first:Int32Array.
from(first),pooled}}findTable(group){const{cut,answering}=this.arrays;const side=Math.ceil(Math.sqrt(
answering));const even=(rows,columns,listed)=>({rows,columns,shape:[1,1],at:Int32Array.from({length:answering},
(_4,key)=>key),listed});const found=cut?even(cut.window[0],cut.window[1],false):this.rectangle(group)??
even(Math.ceil(answering/side),side,true);const keyAt=new Int32Array(found.rows*found.columns).fill(
-1);found.at.forEach((at,key)=>{if(at>=0)keyAt[at]=key});return{...found,keyAt}}rectangle(group){const boxes=Array.
from({length:this.answering},(_4,key)=>this.box(group,key));const placed=boxes.filter(box=>box!==null);
const starts=axis=>[...new Set(placed.map(box=>box[axis]))].sort((a5,b3)=>a5-b3);const[ys,xs]=[starts(
0),starts(1)];const[rows,columns]=[ys.length,xs.length];const lean=Math.max(rows,columns)>4*Math.min(
rows,columns);if(!placed.length||placed.length!==rows*columns||lean)return null;const[rowOf,columnOf]=[
ys,xs].map(list=>new Map(list.map((from,i4)=>[from,i4])));const cellOf=box=>rowOf.get(box[0])*columns+
columnOf.get(box[1]);const at=Int32Array.from(boxes,box=>box?cellOf(box):-1);if(new Set(at.filter(place=>place>=
0)).size!==placed.length)return null;const[y0,x0,y1,x1]=placed[0];return{rows,columns,shape:[y1-y0,x1-
x0],at,listed:false}}edges(name,cells){const[high,wide]=this.padded;const at=(y5,x3)=>{if(!this.rolls||
this.shift[0]===0){if(y5<0||y5>=high)return OUTSIDE}if(!this.rolls||this.shift[1]===0){if(x3<0||x3>=
wide)return OUTSIDE}return name((y5+high)%high,(x3+wide)%wide)};const[flat,upright]=[new Set,new Set];
const look=(y5,x3)=>{const here=at(y5,x3);if(at(y5-1,x3)!==here)flat.add(y5*(wide+1)+x3);if(at(y5+1,
x3)!==here)flat.add((y5+1)*(wide+1)+x3);if(at(y5,x3-1)!==here)upright.add(x3*(high+1)+y5);if(at(y5,x3+
1)!==here)upright.add((x3+1)*(high+1)+y5)};if(cells)for(const[y5,x3]of cells)look(y5,x3);else for(let y5=0;y5<
high;y5++)for(let x3=0;x3<wide;x3++)look(y5,x3);return[...joined2(flat,wide+1).map(([y5,from,to])=>[
y5,from,y5,to]),...joined2(upright,high+1).map(([x3,from,to])=>[from,x3,to,x3])]}borders(){const{cut,
groups}=this.arrays;if(cut)return this.lines(this.shift,cut.window);const edges=groups>1?this.edges(
(y5,x3)=>this.group(this.slotAt(y5,x3))):[];const length=edges.reduce((sum,[y0,x0,y1,x1])=>sum+y1-y0+
x1-x0,0);return length>1.5*this.rows*this.columns?[]:edges}unshifted(){const{cut}=this.arrays;return cut&&
this.rolls?this.lines(cut.window,cut.window):[]}lines(from,window2){const[high,wide]=this.padded;const found=[];
for(let y5=from[0]%high;y5<=high;y5+=window2[0])found.push([y5,0,y5,wide]);for(let x3=from[1]%wide;x3<=
wide;x3+=window2[1])found.push([0,x3,high,x3]);return found}};var OUTSIDE=Symbol("outside");var pair=([
first,second])=>[first,second];var up=(n3,m5)=>Math.ceil(n3/m5)*m5;var area=([y0,x0,y1,x1])=>(y1-y0)*
(x1-x0);var cell=place=>place&&[place[0],place[1],place[0]+1,place[1]+1];function joined2(marks,across){
const runs=[];let last=-2;for(const mark of[...marks].sort((a5,b3)=>a5-b3)){const run=runs[runs.length-
1];if(run&&mark===last+1&&run[0]===Math.floor(mark/across))run[2]+=1;else runs.push([Math.floor(mark/
across),mark%across,mark%across+1]);last=mark}return runs}var OWN=.5;function pull(r4,grid,codes){const next=new Float64Array(r4.length);for(let slot=0;slot<grid.
queries.length;slot++){const token=grid.queries[slot];if(token<0||r4[token]===0)continue;const start=grid.
group(slot)*grid.answering;const row=decodeRow(codes,slot*grid.answering,grid.answering);for(let key=0;key<
grid.answering;key++){if(row[key]>0)spread(next,grid,start+key,r4[token]*row[key])}}for(let token=0;token<
r4.length;token++)next[token]=OWN*r4[token]+(1-OWN)*next[token];return next}function spread(next,grid,other,share2){
const token=grid.keys[other];if(token<0)return;if(grid.isToken(token)){next[token]+=share2;return}const box=grid.
box(Math.floor(other/grid.answering),other%grid.answering);if(!box)return;const[y0,x0,y1,x1]=box;const each=share2/
((y1-y0)*(x1-x0));for(let y5=y0;y5<y1;y5++)for(let x3=x0;x3<x1;x3++)next[grid.tokenAt(y5,x3)]+=each}
function unmerge(r4,from,to,factor,prefix){const next=new Float64Array(prefix+to[0]*to[1]);next.set(
r4.subarray(0,prefix));for(let y5=0;y5<from[0];y5++){for(let x3=0;x3<from[1];x3++){const share2=r4[prefix+
y5*from[1]+x3];if(share2===0)continue;const[bottom,right]=[Math.min(to[0],(y5+1)*factor[0]),Math.min(
to[1],(x3+1)*factor[1])];const each=share2/((bottom-y5*factor[0])*(right-x3*factor[1]));for(let v4=y5*
factor[0];v4<bottom;v4++)for(let u4=x3*factor[1];u4<right;u4++)next[prefix+v4*to[1]+u4]+=each}}return next}
async function rolloutStages(trace,block,token){const{blocks,stages}=trace.manifest;const last=blocks[block];
let r4=new Float64Array(last.prefix+last.spatial[0]*last.spatial[1]);r4[token]=1;const rows=[];for(let i4=block;i4>=
0;i4--){const facts=blocks[i4];const[grid,codes]=await Promise.all([trace.block(i4).load(),trace.array(
facts.mean)]);r4=pull(r4,grid,codes.data);if(i4>0&&blocks[i4-1].stage===facts.stage)continue;const{prefix,
spatial:[height,width]}=facts;rows.push({stage:facts.stage,height,width,values:Float32Array.from(r4.
subarray(prefix)),prefix:Float32Array.from(r4.subarray(0,prefix))});const merge=stages[facts.stage].
merge;if(i4>0&&merge)r4=unmerge(r4,facts.spatial,blocks[i4-1].spatial,merge.factor,prefix)}return rows}
async function rollout(trace,block,token){const rows=await rolloutStages(trace,block,token);const{height,
width,values}=rows[rows.length-1];return{height,width,values}}var AT_ONCE2=4e5;function decodeRow(codes,start,length){const row=new Float32Array(length);let sum=0;
for(let i4=0;i4<length;i4++)sum+=row[i4]=codes[start+i4]**2;if(sum>0)for(let i4=0;i4<length;i4++)row[i4]/=
sum;return row}var BlockView=class{constructor(source,index,facts){this.source=source;this.index=index;
this.facts=facts}source;index;facts;loading=null;load(){return this.loading??=this.unpack().catch(error=>{
this.loading=null;throw error})}async unpack(){const{queries,keys,query_regions,key_regions,boxes}=this.
facts;const numbers=await Promise.all([queries,keys,query_regions,key_regions,boxes].map(async name=>name===
null?null:(await this.source.array(name)).data));return new Grid(this.facts,{queries:numbers[0],keys:numbers[1],
queryRegions:numbers[2],keyRegions:numbers[3],boxes:numbers[4]})}};var TraceView=class{constructor(source){
this.source=source;this.manifest=source.manifest;this.blocks=this.manifest.blocks.map((facts,i4)=>new BlockView(
source,i4,facts))}source;manifest;blocks;images=new Map;block(index){return this.blocks[index]}array(name){
return this.source.array(name)}async row(block,token,heads=false){const{facts}=this.blocks[block];const grid=await this.
blocks[block].load();const slot=grid.slotOf[token];if(!(slot>=0))throw new RangeError(`block ${block}\
 has no token ${token}`);const[group,query,start]=[grid.group(slot),slot%grid.asking,grid.group(slot)*
grid.answering];const wanted=heads&&this.hasHeads(block)?this.heads(block,grid,group,query):null;const[
each,mean,bias]=await Promise.all([wanted,this.mean(block,grid,slot),heads?this.bias(facts,group,query):
null]);const allowed=Uint8Array.from({length:grid.answering},(_4,key)=>grid.sees(slot,group,key)?1:0);
return{token,group,query,allowed,mean,heads:each,bias,keys:grid.keys.subarray(start,start+grid.answering),
boxes:grid.boxes&&grid.boxes.subarray(4*start,4*(start+grid.answering))}}hasHeads(block){return this.
blocks[block].facts.attention!==null||this.manifest.on_demand}async askable(block){const{facts}=this.
blocks[block];if(!facts.chosen||this.manifest.on_demand||facts.attention)return null;const[grid,slots]=await Promise.
all([this.blocks[block].load(),this.array(facts.chosen)]);return Array.from(slots.data,slot=>grid.queries[slot]).
filter(token=>token>=0)}async nearest(block,token){const allowed=await this.askable(block);if(!allowed||
allowed.includes(token))return token;const grid=await this.blocks[block].load();const[y5,x3]=grid.position(
token);const far=other=>{const[v4,u4]=grid.position(other);return(v4-y5)**2+(u4-x3)**2};return allowed.
reduce((best,other)=>far(other)<far(best)?other:best)}async mean(block,grid,slot){const{mean,chosen}=this.
blocks[block].facts;if(mean&&!chosen)return decodeRow((await this.array(mean)).data,slot*grid.answering,
grid.answering);if(mean&&chosen){const place=(await this.array(chosen)).data.indexOf(slot);if(place>=
0)return decodeRow((await this.array(mean)).data,place*grid.answering,grid.answering)}const each=await this.
heads(block,grid,grid.group(slot),slot%grid.asking);return each[0].map((_4,key)=>each.reduce((sum,row)=>sum+
row[key],0)/each.length)}async heads(block,grid,group,query){const{facts}=this.blocks[block];const heads=Array.
from({length:facts.heads},(_4,head)=>head);if(facts.attention){const codes2=(await this.array(facts.
attention)).data;return heads.map(head=>decodeRow(codes2,((group*facts.heads+head)*grid.asking+query)*
grid.answering,grid.answering))}const most=Math.max(1,Math.min(grid.asking,Math.floor(AT_ONCE2/(facts.
heads*grid.answering))));const first=Math.floor(query/most)*most;const count2=Math.min(most,grid.asking-
first);const name=`b${block}/rows/${group}/${first}/${count2}`;if(!this.manifest.on_demand)throw new Missing(
name);const codes=(await this.array(name)).data;return heads.map(head=>decodeRow(codes,((query-first)*
facts.heads+head)*grid.answering,grid.answering))}async bias(facts,group,query){if(!facts.bias)return null;
const{shape:[groups,heads,asking,answering],data}=await this.array(facts.bias);const own=groups>1?group:
0;return Array.from({length:heads},(_4,head)=>{const start=((own*heads+head)*asking+query)*answering;
return data.subarray(start,start+answering)})}async rollout(block,token){const{facts}=this.blocks[block];
const stored=this.manifest.blocks.slice(0,block+1).every(({mean,chosen})=>mean&&!chosen);if(stored)return rollout(
this,block,token);const[y5,x3]=[Math.floor((token-facts.prefix)/facts.spatial[1]),(token-facts.prefix)%
facts.spatial[1]];const name=`rollout/${block}/${y5}/${x3}`;if(!this.manifest.on_demand&&!this.source.
has(name))throw new Missing(name);return this.map2d(name)}async map(method,cls){const stored=this.manifest.
maps.find(map=>map.method===method&&(map.class===null||map.class===cls));if(stored)return this.map2d(
stored.array);const name=`map/${method}/${cls??0}`;if(!this.manifest.on_demand&&!this.source.has(name))
throw new Missing(name);return this.map2d(name)}async map2d(name){const{shape:[height,width],data}=await this.
array(name);return{height,width,values:data instanceof Float32Array?data:Float32Array.from(data)}}image(which){
const known=this.images.get(which);if(known)return known;const name=this.manifest.photo[which];const bitmap=this.
array(name).then(({data})=>createImageBitmap(new Blob([data],{type:this.manifest.arrays[name]?.type??
""})));this.images.set(which,bitmap);return bitmap}};async function mount(sources,host,root2){const traces=sources.map(source=>new TraceView(source));const first=defaults(
traces[0]);const addressed=host!=="notebook";const hash=addressed?location.hash:"";const fields=new URLSearchParams(
hash.slice(1));const state=makeState(parse(hash,{...first,step:fields.has("block")||fields.has("view")?
-1:first.step},traces));const said=y3("");let pause=0;const app={traces,state,host,root:root2,said,source:sources[0],
trace:O(()=>traces[state.side.value==="B"?1:0]??traces[0]),say:text=>{clearTimeout(pause);pause=window.
setTimeout(()=>{said.value=text},250)},reduced:matchMedia("(prefers-reduced-motion: reduce)").matches};
await Promise.all(traces.flatMap(trace=>[trace.image("seen"),trace.image("shown"),trace.block(state.
block.value)?.load()]));root2.classList.add("vitrail");root2.replaceChildren();Q(a4(Shell,{app}),root2);
const unlink=addressed?linkAddress(app):()=>void 0;await new Promise(requestAnimationFrame);root2.dataset.
ready="true";if(addressed){document.documentElement.dataset.ready="true";Object.assign(window,{vitrail:{
app}})}const stop=()=>{unlink();clearTimeout(pause);Q(null,root2);delete root2.dataset.ready};return{
app,stop}}async function render({model,el,signal:ended}){const source=notebookSource(model);const root2=document.
createElement("div");el.append(root2);const{stop}=await mount([source],"notebook",root2);const close=()=>{
stop();source.dispose?.()};ended?.addEventListener("abort",close,{once:true});return close}var root=document.
querySelector("[data-vitrail]");if(root&&document.getElementById("manifest:0"))void mount(reportSources(
document),"report",root);else if(root?.dataset.server!==void 0)void startServer(root,mount);var main_default={render};export{assign,main_default as default,mount,snapshot};
