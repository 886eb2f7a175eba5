// What the page says, in five languages: English, German, French, Spanish, Japanese.

export const languages = { en: "English", de: "Deutsch", fr: "Français", es: "Español", ja: "日本語" };

const words = {
  off: ["Camera off", "Kamera aus", "Caméra éteinte", "Cámara apagada", "カメラはオフ"],
  checking: ["Only you see this", "Das sehen nur Sie", "Vous seul voyez ceci", "Solo usted ve esto", "あなただけに見えています"],
  asking: ["Asking for the camera …", "Kamera wird angefragt …", "Demande de la caméra …", "Solicitando la cámara …", "カメラの許可を待っています…"],
  connecting: ["Connecting …", "Verbinden …", "Connexion …", "Conectando …", "接続中…"],
  live: ["Live", "Live", "En direct", "En directo", "配信中"],
  lost: ["Connection lost, connecting again …", "Verbindung verloren, wird neu aufgebaut …", "Connexion perdue, nouvelle tentative …", "Conexión perdida, reconectando …", "接続が切れました。再接続中…"],
  wrong: ["Something went wrong", "Etwas ist schiefgegangen", "Un problème est survenu", "Algo salió mal", "問題が発生しました"],
  waiting: ["Waiting for the video …", "Warten auf das Video …", "En attente de la vidéo …", "Esperando el vídeo …", "映像を待っています…"],
  stopped: ["The sender has stopped. This goes on by itself when they are back.", "Die Sendung ist unterbrochen. Sie geht von selbst weiter.", "La diffusion est interrompue. Elle reprendra d’elle-même.", "La emisión se ha detenido. Continuará por sí sola.", "配信が止まりました。再開すると自動的に表示されます。"],
  promise: ["Nobody sees your face: what leaves is what you see when you are live.", "Niemand sieht Ihr Gesicht: Hinaus geht nur, was Sie live sehen.", "Personne ne voit votre visage : ne sort que ce que vous voyez en direct.", "Nadie ve su cara: solo sale lo que usted ve en directo.", "あなたの顔は誰にも見えません。外へ出るのは配信中に見える映像だけです。"],
  check: ["Check camera", "Kamera prüfen", "Tester la caméra", "Probar la cámara", "カメラを確認"],
  start: ["Go live", "Live gehen", "Diffuser", "Emitir", "配信する"],
  stop: ["Stop", "Beenden", "Arrêter", "Detener", "停止"],
  camera: ["Camera", "Kamera", "Caméra", "Cámara", "カメラ"],
  default: ["Default", "Standard", "Par défaut", "Predeterminada", "既定"],
  size: ["Picture size", "Bildgröße", "Taille de l’image", "Tamaño de imagen", "画面サイズ"],
  room: ["Name of your room", "Name Ihres Raums", "Nom de votre salle", "Nombre de su sala", "ルーム名"],
  token: ["Token", "Token", "Jeton", "Token", "トークン"],
  face: ["Your face", "Ihr Gesicht", "Votre visage", "Su cara", "あなたの顔"],
  replaced: ["Replaced", "Ersetzt", "Remplacé", "Sustituida", "置き換え"],
  covered: ["Covered", "Verdeckt", "Masqué", "Cubierta", "隠す"],
  privacy: ["Privacy", "Privatsphäre", "Confidentialité", "Privacidad", "プライバシー"],
  privacyHelp: ["Full: somebody else. Less keeps more of you.", "Voll: jemand anderes. Weniger behält mehr von Ihnen.", "Au maximum : quelqu’un d’autre. Moins : davantage de vous.", "Al máximo: otra persona. Menos conserva más de usted.", "最大: まったくの別人。下げるほどあなたに近づきます。"],
  voice: ["Send my voice, changed", "Meine Stimme senden, verstellt", "Envoyer ma voix, déguisée", "Enviar mi voz, disfrazada", "声を変えて送る"],
  voiceHelp: ["Disguised, not anonymous: who knows you may still know you.", "Verstellt, nicht anonym: Wer Sie kennt, erkennt Sie vielleicht.", "Déguisée, pas anonyme : vos proches peuvent vous reconnaître.", "Disfrazada, no anónima: quien le conozca puede reconocerle.", "声を変えるだけで、匿名にはなりません。"],
  ownVoice: ["Send my voice as it is", "Meine Stimme unverändert senden", "Envoyer ma voix telle quelle", "Enviar mi voz tal cual", "声をそのまま送る"],
  ownVoiceHelp: ["A voice tells who you are.", "Eine Stimme verrät, wer Sie sind.", "Une voix dit qui vous êtes.", "Una voz dice quién es usted.", "声からあなたが誰かわかります。"],
  noMicrophone: ["The browser was not allowed to use the microphone.", "Das Mikrofon ist nicht erlaubt.", "L’accès au microphone est refusé.", "No se permitió usar el micrófono.", "マイクの使用が許可されていません。"],
  regions: ["Always covered", "Immer verdeckt", "Toujours masqué", "Siempre cubierto", "常に隠す範囲"],
  region: ["Region", "Bereich", "Zone", "Zona", "範囲"],
  regionKeys: ["Arrows move it, with Shift they change its size, Delete removes it.", "Pfeile verschieben, mit Umschalt ändern sie die Größe, Entf entfernt.", "Flèches : déplacer ; avec Maj : taille ; Suppr : retirer.", "Flechas: mover; con Mayús: tamaño; Supr: quitar.", "矢印で移動、Shiftで大きさ、Deleteで削除。"],
  addRegion: ["Always cover a region", "Einen Bereich immer verdecken", "Toujours masquer une zone", "Cubrir siempre una zona", "範囲を常に隠す"],
  sampleBefore: ["Before", "Vorher", "Avant", "Antes", "前"],
  sampleAfter: ["After", "Nachher", "Après", "Después", "後"],
  sampleAlt: ["A drawing: one face becomes another that keeps its expression", "Zeichnung: Ein Gesicht wird ein anderes mit gleichem Ausdruck", "Dessin : un visage devient un autre, avec la même expression", "Dibujo: una cara se convierte en otra con la misma expresión", "図: 表情を保ったまま別の顔になる"],
  tooDark: ["Too dark: turn on a light in front of you.", "Zu dunkel: Licht vor Ihnen einschalten.", "Trop sombre : allumez une lumière devant vous.", "Muy oscuro: encienda una luz delante de usted.", "暗すぎます。正面の明かりをつけてください。"],
  tooBright: ["Too bright: turn away from the light.", "Zu hell: vom Licht wegdrehen.", "Trop clair : éloignez-vous de la lumière.", "Demasiada luz: apártese de ella.", "明るすぎます。光から離れてください。"],
  backlit: ["The light is behind you: face it.", "Das Licht ist hinter Ihnen: Drehen Sie sich zu ihm.", "La lumière est derrière vous : faites-lui face.", "La luz está detrás: póngase de cara a ella.", "逆光です。光のほうを向いてください。"],
  goodLight: ["Good light. Fit your face into the oval.", "Gutes Licht. Gesicht in das Oval bringen.", "Bonne lumière. Placez votre visage dans l’ovale.", "Buena luz. Encaje la cara en el óvalo.", "明るさは良好です。顔を楕円に合わせてください。"],
  light: ["Light", "Licht", "Lumière", "Luz", "明るさ"],
  stage: ["Video", "Video", "Vidéo", "Vídeo", "映像"],
  controls: ["Controls of the video", "Steuerung des Videos", "Commandes de la vidéo", "Controles del vídeo", "映像の操作"],
  settings: ["Settings", "Einstellungen", "Réglages", "Ajustes", "設定"],
  share: ["Viewer link", "Link für Zuschauer", "Lien de visionnage", "Enlace para ver", "視聴リンク"],
  shareHelp: ["Whoever has this link sees your safe video, and nothing else.", "Wer diesen Link hat, sieht Ihr sicheres Video und sonst nichts.", "Qui possède ce lien voit votre vidéo protégée, rien d’autre.", "Quien tenga este enlace verá su vídeo protegido y nada más.", "このリンクを知る人には、保護された映像だけが見えます。"],
  qr: ["QR code of the viewer link", "QR-Code des Links", "Code QR du lien", "Código QR del enlace", "視聴リンクのQRコード"],
  copy: ["Copy link", "Link kopieren", "Copier le lien", "Copiar enlace", "リンクをコピー"],
  copied: ["Copied", "Kopiert", "Copié", "Copiado", "コピーしました"],
  close: ["Close", "Schließen", "Fermer", "Cerrar", "閉じる"],
  fullscreen: ["Full screen", "Vollbild", "Plein écran", "Pantalla completa", "全画面"],
  pip: ["Small window", "Kleines Fenster", "Petite fenêtre", "Ventana pequeña", "小窓表示"],
  figures: ["Figures", "Messwerte", "Mesures", "Datos", "計測値"],
  sound: ["Play sound", "Ton an", "Activer le son", "Activar sonido", "音声を再生"],
  fps: ["fps", "B/s", "i/s", "fps", "fps"],
  loop: ["delay", "Verzögerung", "délai", "retardo", "遅延"],
  faces: ["faces", "Gesichter", "visages", "caras", "顔"],
  cover: ["shown as", "gezeigt als", "affiché", "mostrado", "表示"],
  likeness: ["likeness", "Ähnlichkeit", "ressemblance", "parecido", "類似度"],
  viewers: ["viewers", "Zuschauer", "spectateurs", "espectadores", "視聴者"],
  generated: ["replaced", "ersetzt", "remplacé", "sustituida", "置き換え"],
  mosaic: ["mosaic", "Mosaik", "mosaïque", "mosaico", "モザイク"],
  solid: ["solid", "Fläche", "uni", "liso", "塗りつぶし"],
  frame: ["whole picture", "ganzes Bild", "image entière", "imagen entera", "画面全体"],
  none: ["none", "keine", "aucun", "ninguna", "なし"],
  easedSmaller: ["The server is busy: the picture is smaller, so that your face can still be replaced.", "Der Server ist ausgelastet: Das Bild ist kleiner, damit Ihr Gesicht weiter ersetzt wird.", "Le serveur est chargé : l’image est réduite pour continuer à remplacer votre visage.", "El servidor está ocupado: la imagen es menor para seguir sustituyendo su cara.", "サーバーが混雑しています。顔の置き換えを続けるため画面を小さくしました。"],
  easedSlower: ["The server is busy: it shows fewer pictures a second.", "Der Server ist ausgelastet: Er zeigt weniger Bilder pro Sekunde.", "Le serveur est chargé : moins d’images par seconde.", "El servidor está ocupado: muestra menos imágenes por segundo.", "サーバーが混雑しています。毎秒の枚数を減らしています。"],
  easedCovered: ["The server is busy: your face is covered instead of replaced.", "Der Server ist ausgelastet: Ihr Gesicht ist verdeckt statt ersetzt.", "Le serveur est chargé : votre visage est masqué au lieu d’être remplacé.", "El servidor está ocupado: su cara está cubierta en vez de sustituida.", "サーバーが混雑しています。顔は置き換えずに隠しています。"],
  doCover: ["Only cover faces", "Nur verdecken", "Seulement masquer", "Solo cubrir", "隠すだけにする"],
  doSmaller: ["Send a smaller picture", "Kleineres Bild senden", "Envoyer une image plus petite", "Enviar imagen menor", "小さい画面で送る"],
  taken: ["Your room was taken over by another window or device.", "Ihr Raum wurde von einem anderen Fenster oder Gerät übernommen.", "Votre salle a été reprise par une autre fenêtre ou un autre appareil.", "Otra ventana o dispositivo ha tomado su sala.", "別のウィンドウまたは端末がこのルームを引き継ぎました。"],
  notAllowed: ["The browser was not allowed to use the camera. Allow it in the address bar, then start again.", "Die Kamera ist nicht erlaubt. Erlauben Sie sie in der Adresszeile und beginnen Sie neu.", "L’accès à la caméra est refusé. Autorisez-le dans la barre d’adresse, puis recommencez.", "No se permitió usar la cámara. Permítala en la barra de direcciones y vuelva a empezar.", "カメラの使用が許可されていません。アドレスバーで許可してからやり直してください。"],
  notFound: ["There is no camera.", "Es gibt keine Kamera.", "Aucune caméra.", "No hay cámara.", "カメラがありません。"],
  inUse: ["The camera is in use by another program.", "Ein anderes Programm benutzt die Kamera.", "La caméra est utilisée par un autre programme.", "Otro programa usa la cámara.", "別のプログラムがカメラを使用中です。"],
  noServer: ["The server does not answer.", "Der Server antwortet nicht.", "Le serveur ne répond pas.", "El servidor no responde.", "サーバーが応答しません。"],
  needsToken: ["This server asks for a token.", "Dieser Server verlangt ein Token.", "Ce serveur demande un jeton.", "Este servidor pide un token.", "このサーバーにはトークンが必要です。"],
  needsHttps: ["Browsers give cameras only to pages of https:// or of this machine.", "Kameras gibt es nur für Seiten mit https:// oder von diesem Rechner.", "Les caméras ne sont accessibles qu’en https:// ou depuis cette machine.", "Las cámaras solo funcionan en páginas https:// o de este equipo.", "カメラはhttps://またはこの端末のページでのみ使えます。"],
  language: ["Language", "Sprache", "Langue", "Idioma", "言語"],
  theme: ["Theme", "Farben", "Thème", "Tema", "配色"],
  auto: ["System", "System", "Système", "Sistema", "システム"],
  light2: ["Light", "Hell", "Clair", "Claro", "ライト"],
  dark: ["Dark", "Dunkel", "Sombre", "Oscuro", "ダーク"],
};

const order = Object.keys(languages);
const wanted = () => localStorage.getItem("language") ?? (navigator.languages ?? []).map((tag) => tag.slice(0, 2)).find((tag) => tag in languages) ?? "en";
export let language = wanted();

export const say = (key) => words[key]?.[order.indexOf(language)] ?? key;

// Puts the words of the language into the page: data-say is what an element says, data-say-label its name.
export function translate(chosen = language) {
  language = chosen in languages ? chosen : "en";
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-say-label]")) {
    element.setAttribute("aria-label", say(element.dataset.sayLabel));
    element.title = say(element.dataset.sayLabel);
  }
}
